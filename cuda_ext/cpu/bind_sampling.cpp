// Resampling beyond `pull`: the label vote.
#include "bind.h"

namespace medframe {
namespace {

template <class T>
void run_vote(Job &job, const py::array &labels, py::array &out, std::int64_t fill) {
    job.in = labels.data();
    job.out = out.mutable_data();
    py::gil_scoped_release release;
    vote_rows<T>(job, static_cast<T>(fill));
}

void label_vote(const py::array &labels, py::array &out, const py::object &lead, const py::list &knots, int border,
                std::int64_t fill, int threads) {
    check_volume(labels, "the labels are a C-ordered (C, D, H, W)");
    check_volume(out, "the output is a C-ordered (C, D, H, W)");
    check(labels.shape(0) == out.shape(0), "labels and output differ in channels");
    check(border >= ZERO && border <= WRAP, "the border is 0 to 3");
    const char kind = labels.dtype().kind();
    check(out.dtype().kind() == kind && out.itemsize() == labels.itemsize(), "labels and output differ in type");
    check(kind == 'i' || kind == 'u', "labels are integers");
    Job job;
    describe(job, labels, out, lead, knots);
    job.border = static_cast<Border>(border);
    job.threads = threads_for(job.out_voxels() * job.channels, threads);
    switch (labels.itemsize()) {
        case 1:
            if (kind == 'u') return run_vote<std::uint8_t>(job, labels, out, fill);
            return run_vote<std::int8_t>(job, labels, out, fill);
        case 2:
            if (kind == 'u') return run_vote<std::uint16_t>(job, labels, out, fill);
            return run_vote<std::int16_t>(job, labels, out, fill);
        case 4:
            check(kind == 'i', "labels of 32 bits are signed");
            return run_vote<std::int32_t>(job, labels, out, fill);
        default:
            check(kind == 'i', "labels of 64 bits are signed");
            return run_vote<std::int64_t>(job, labels, out, fill);
    }
}

}  // namespace

void bind_sampling(py::module_ &m) {
    m.def("label_vote", &label_vote, py::arg("labels").noconvert(), py::arg("out").noconvert(), py::arg("lead"),
          py::arg("knots"), py::arg("border"), py::arg("fill"), py::arg("threads"));
}

}  // namespace medframe
