// The Python module medframe._core. The modules of medframe/kernels/native are its only callers.
#include "bind.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace medframe {
namespace {

void pull(const py::array &volume, py::array &out, const py::object &lead, const py::list &knots, int order, int border,
          double fill, std::uint64_t fill_bits, int threads) {
    check_volume(volume, "the volume is a C-ordered (C, D, H, W)");
    check_volume(out, "the output is a C-ordered (C, D, H, W)");
    check(volume.shape(0) == out.shape(0), "volume and output differ in channels");
    check_apart(volume, out);
    check(order == 0 || order == 1 || order == 3, "the order is 0, 1 or 3");
    check(border >= ZERO && border <= WRAP, "the border is 0 to 3");
    Job job;
    job.in = volume.data();
    job.out = out.mutable_data();
    job.in_kind = kind_of(volume);
    job.out_kind = kind_of(out);
    check(order == 0 || !is_bits(job.in_kind), "voxels of this kind cannot be interpolated");
    check(order != 3 || job.in_kind == Kind::F32 || job.in_kind == Kind::F64,
          "spline coefficients are float32 or float64");
    describe(job, volume, out, lead, knots);
    job.order = order;
    job.border = static_cast<Border>(border);
    job.fill = fill;
    job.fill_bits = fill_bits;
    job.threads = threads_for(job.out_voxels() * job.channels, threads);
    const Index bytes = out.nbytes();
    py::gil_scoped_release release;  // from here on no Python object may be touched
    ask_for_large_pages(job.out, bytes);
    int follows[3];
    if (job.knots.empty() && aligned(job.lead, job.out_size, follows))
        pull_separable(job, follows);
    else
        pull_rows(job);
}

void prefilter_in_place(py::array &volume, bool periodic, int threads) {
    check_volume(volume, "the volume is a C-ordered (C, D, H, W)");
    const Kind kind = kind_of(volume);
    check(kind == Kind::F32 || kind == Kind::F64, "spline coefficients are float32 or float64");
    const int size[3] = {static_cast<int>(volume.shape(1)), static_cast<int>(volume.shape(2)),
                         static_cast<int>(volume.shape(3))};
    const Index channels = volume.shape(0);
    threads = threads_for(volume.size(), threads);
    void *data = volume.mutable_data();
    py::gil_scoped_release release;
    if (kind == Kind::F32)
        prefilter(static_cast<float *>(data), channels, size, periodic, threads);
    else
        prefilter(static_cast<double *>(data), channels, size, periodic, threads);
}

}  // namespace
}  // namespace medframe

PYBIND11_MODULE(_core, m) {
    m.doc() = "medframe's kernels in C++ and OpenMP.";
    m.def("pull", &medframe::pull, py::arg("volume").noconvert(), py::arg("out").noconvert(), py::arg("lead"),
          py::arg("knots"), py::arg("order"), py::arg("border"), py::arg("fill"), py::arg("fill_bits"),
          py::arg("threads"));
    m.def("prefilter", &medframe::prefilter_in_place, py::arg("volume").noconvert(), py::arg("periodic"),
          py::arg("threads"));
    medframe::bind_sampling(m);
    medframe::bind_regions(m);
    medframe::bind_memory(m);
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { medframe::forked = true; });
#endif
}
