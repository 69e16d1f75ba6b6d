// Resampling beyond `pull`: the label vote, decisions between logits, and sampling with gradients.
#include <pybind11/stl.h>

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
    check_apart(labels, out);
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

// `out` of an integer type takes labels, of float32 the probabilities of `chosen`
void logit_argmax(const py::array &logits, py::array &out, const py::object &lead, const py::list &knots, int border,
                  const std::vector<float> &fill, const std::vector<int> &chosen, int threads) {
    check_volume(logits, "the logits are a C-ordered (C, D, H, W)");
    check_volume(out, "the output is a C-ordered (C, D, H, W)");
    check(border >= ZERO && border <= WRAP, "the border is 0 to 3");
    check_apart(logits, out);
    Job job;
    describe(job, logits, out, lead, knots);
    job.in = logits.data();
    job.out = out.mutable_data();
    job.in_kind = kind_of(logits);
    job.out_kind = kind_of(out);
    check(job.in_kind == Kind::F32 || job.in_kind == Kind::F16 || job.in_kind == Kind::BF16, "logits are floats");
    check(Index(fill.size()) == job.channels, "one fill a class");
    check(job.out_kind == Kind::U8 || job.out_kind == Kind::I16 || job.out_kind == Kind::F32, "the output's type");
    check(out.shape(0) == (job.out_kind == Kind::F32 ? Index(chosen.size()) : 1), "channels of the output");
    for (const int c : chosen) check(c >= 0 && c < std::max<Index>(job.channels, 2), "a chosen class exists");
    job.border = static_cast<Border>(border);
    job.threads = threads_for(job.out_voxels() * job.channels, threads);
    py::gil_scoped_release release;
    decide_rows(job, fill, chosen);
}

void describe_field(SampleJob &all, const py::object &field, Kind kind) {
    if (field.is_none()) return;
    const auto given = field.cast<py::tuple>();
    check(given.size() == 3, "a field is (values, order, to_knots)");
    const auto values = given[0].cast<py::array>();
    check_volume(values, "a field is a C-ordered (3, n0, n1, n2)");
    check(values.shape(0) == 3 && kind_of(values) == kind, "a field is (3, n0, n1, n2) of the volume's type");
    all.field.values = values.data();
    for (int a = 0; a < 3; ++a) all.field.n[a] = static_cast<int>(values.shape(a + 1));
    all.field.order = given[1].cast<int>();
    check(all.field.order == 1 || all.field.order == 3, "a field is of order 1 or 3");
    all.field.to_knots = affine_of(given[2]);
}

void describe_sample(SampleJob &all, const py::array &volume, const py::array &out, const py::object &lead,
                     const py::object &last, const py::object &field, int order, int border, double fill) {
    check_volume(volume, "the volume is a C-ordered (C, D, H, W)");
    check_volume(out, "the output is a C-ordered (C, D, H, W)");
    check(volume.shape(0) == out.shape(0), "volume and output differ in channels");
    check(order == 0 || order == 1 || order == 3, "the order is 0, 1 or 3");
    check(border >= ZERO && border <= WRAP, "the border is 0 to 3");
    Job &job = all.job;
    describe(job, volume, out, lead, py::list());
    job.in_kind = kind_of(volume);
    check(job.in_kind == Kind::F32 || job.in_kind == Kind::F64, "gradients are of float32 or float64");
    check(kind_of(out) == job.in_kind, "volume and output differ in type");
    job.order = order;
    job.border = static_cast<Border>(border);
    job.fill = fill;
    all.last = affine_of(last);
    describe_field(all, field, job.in_kind);
}

void sample(const py::array &volume, py::array &out, const py::object &lead, const py::object &last,
            const py::object &field, int order, int border, double fill, int threads) {
    SampleJob all;
    describe_sample(all, volume, out, lead, last, field, order, border, fill);
    all.job.in = volume.data();
    all.job.out = out.mutable_data();
    all.job.threads = threads_for(all.job.out_voxels() * all.job.channels, threads);
    py::gil_scoped_release release;
    all.job.in_kind == Kind::F32 ? sample_rows<float>(all) : sample_rows<double>(all);
}

void *writable(const py::object &given, const py::array &like, Index channels, const char *what) {
    if (given.is_none()) return nullptr;
    auto array = given.cast<py::array>();
    check_volume(array, what);
    check(kind_of(array) == kind_of(like) && array.shape(0) == channels, what);
    return array.mutable_data();
}

// Adds to grad_volume (C, D, H, W), grad_last (3, 4) and grad_field (3, n0, n1, n2), each an array or None. `knots` are
// displacements without gradients, in place of a field.
void sample_backward(const py::array &volume, const py::array &grad_out, const py::object &lead,
                     const py::object &last, const py::object &field, const py::list &knots, int order, int border,
                     double fill, const py::object &grad_volume, const py::object &grad_last,
                     const py::object &grad_field, int threads) {
    SampleJob all;
    describe_sample(all, volume, grad_out, lead, last, field, order, border, fill);
    for (const auto &k : knots) all.job.knots.push_back(knots_of(k.cast<py::tuple>()));
    check(all.job.knots.empty() || all.field.values == nullptr, "knots or a field, not both");
    all.job.in = volume.data();
    all.grad_out = grad_out.data();
    all.grad_volume = writable(grad_volume, volume, volume.shape(0), "grad_volume is like the volume");
    all.grad_field = writable(grad_field, volume, 3, "grad_field is like the field");
    if (all.grad_volume)
        for (int a = 1; a < 4; ++a)
            check(grad_volume.cast<py::array>().shape(a) == volume.shape(a), "grad_volume is like the volume");
    if (all.grad_field) {
        check(all.field.values != nullptr, "there is a field");
        for (int a = 0; a < 3; ++a)
            check(grad_field.cast<py::array>().shape(a + 1) == all.field.n[a], "grad_field is like the field");
    }
    if (!grad_last.is_none()) {
        auto array = grad_last.cast<py::array>();
        check(array.ndim() == 2 && array.shape(0) == 3 && array.shape(1) == 4 && kind_of(array) == Kind::F64 &&
                  (array.flags() & py::array::c_style),
              "grad_last is (3, 4) float64");
        all.grad_last = static_cast<double *>(array.mutable_data());
    }
    all.job.threads = threads_for(all.job.out_voxels() * all.job.channels, threads);
    py::gil_scoped_release release;
    all.job.in_kind == Kind::F32 ? sample_gradients<float>(all) : sample_gradients<double>(all);
}

}  // namespace

void bind_sampling(py::module_ &m) {
    m.def("label_vote", &label_vote, py::arg("labels").noconvert(), py::arg("out").noconvert(), py::arg("lead"),
          py::arg("knots"), py::arg("border"), py::arg("fill"), py::arg("threads"));
    m.def("logit_argmax", &logit_argmax, py::arg("logits").noconvert(), py::arg("out").noconvert(), py::arg("lead"),
          py::arg("knots"), py::arg("border"), py::arg("fill"), py::arg("chosen"), py::arg("threads"));
    m.def("sample", &sample, py::arg("volume").noconvert(), py::arg("out").noconvert(), py::arg("lead"),
          py::arg("last"), py::arg("field"), py::arg("order"), py::arg("border"), py::arg("fill"), py::arg("threads"));
    m.def("sample_backward", &sample_backward, py::arg("volume").noconvert(), py::arg("grad_out").noconvert(),
          py::arg("lead"), py::arg("last"), py::arg("field"), py::arg("knots"), py::arg("order"), py::arg("border"),
          py::arg("fill"), py::arg("grad_volume"), py::arg("grad_last"), py::arg("grad_field"), py::arg("threads"));
}

}  // namespace medframe
