// Hands distances, components, counts, neighbourhoods and noise to Python. Shapes, kinds and order are checked here again:
// a wrong call may raise, never read or write out of bounds.
#include <array>

#include <pybind11/stl.h>

#include "bind.h"
#include "regions.h"

namespace medframe {
namespace {

struct Volume {
    Index channels;
    std::array<int, 3> size;
    Index voxels;
};

Volume volume_of(const py::array &in) {
    check_volume(in, "the input is a C-ordered (C, D, H, W) that holds voxels");
    Volume v{in.shape(0), {}, in.size()};
    for (int a = 0; a < 3; ++a) v.size[a] = static_cast<int>(in.shape(a + 1));
    return v;
}

Volume alike(const py::array &one, const py::array &other) {
    const Volume v = volume_of(one);
    check_volume(other, "the other is a C-ordered (C, D, H, W) that holds voxels");
    for (int a = 0; a < 4; ++a) check(one.shape(a) == other.shape(a), "input and output are of one shape");
    return v;
}

Volume like(const py::array &in, const py::array &out) {
    const Volume v = alike(in, out);
    check_apart(in, out);
    return v;
}

const std::uint8_t *bytes(const py::array &mask) {
    check(mask.itemsize() == 1, "a mask is of bytes");
    return static_cast<const std::uint8_t *>(mask.data());
}

float *floats(py::array &out) {
    check(kind_of(out) == Kind::F32, "the output is float32");
    return static_cast<float *>(out.mutable_data());
}

// of voxels that filters take
Kind computed(const py::array &of) {
    const Kind kind = kind_of(of);
    check(!is_bits(kind) && kind != Kind::BOOL && kind != Kind::F64, "voxels are integers or floats of up to 32 bits");
    return kind;
}

std::int32_t *integers(py::array &out) {
    check(kind_of(out) == Kind::I32, "the output is int32");
    return static_cast<std::int32_t *>(out.mutable_data());
}

void bound_distance(const py::array &target, py::array &out, const std::array<double, 3> &spacing, int threads) {
    const Volume v = like(target, out);
    const std::uint8_t *in = bytes(target);
    const Kind kind = kind_of(out);
    check(kind == Kind::F32 || kind == Kind::F64, "the output is float32 or float64");
    void *to = out.mutable_data();
    threads = threads_for(v.voxels, threads);
    py::gil_scoped_release release;
    const auto run = [&](auto type) {
        using Real = decltype(type);
        const Real steps[3] = {Real(spacing[0]), Real(spacing[1]), Real(spacing[2])};
        distance_transform(in, static_cast<Real *>(to), v.channels, v.size.data(), steps, threads);
    };
    kind == Kind::F32 ? run(float()) : run(double());
}

bool bound_distances_at(const py::array &target, const py::array &at, py::array &out,
                        const std::array<double, 3> &spacing, Index most, int threads) {
    const Volume v = alike(target, at); // both are read, and may be one
    check(v.channels == 1, "one channel");
    check(v.size[2] < 65535, "rows of less than 65535 voxels");
    const std::uint8_t *in = bytes(target), *where = bytes(at);
    Index n = 0;
    for (Index i = 0; i < v.voxels; ++i) n += where[i] != 0;
    check(kind_of(out) == Kind::F64 && out.ndim() == 1 && out.size() == n, "the output is float64, a place each");
    double *to = static_cast<double *>(out.mutable_data());
    threads = threads_for(v.voxels, threads);
    py::gil_scoped_release release;
    return distances_at(in, where, to, v.size.data(), spacing.data(), most, threads);
}

std::int64_t *bounds(py::array &of, Index count) {
    check(of.ndim() == 2 && of.shape(0) == count && of.shape(1) == 3 && of.itemsize() == 8 &&
              of.dtype().kind() == 'i' && (of.flags() & py::array::c_style),
          "bounds are (n, 3) int64");
    return static_cast<std::int64_t *>(of.mutable_data());
}

void bound_boxes(const py::array &labels, py::array &lower, py::array &upper) {
    const Volume v = volume_of(labels);
    check(v.channels == 1 && lower.ndim() == 2, "one channel, and bounds");
    const Index count = lower.shape(0);
    std::int64_t *low = bounds(lower, count), *high = bounds(upper, count);
    const Kind kind = kind_of(labels);
    const void *in = labels.data();
    check(kind == Kind::U8 || kind == Kind::I16 || kind == Kind::I32, "labels are uint8, int16 or int32");
    py::gil_scoped_release release;
    if (kind == Kind::U8)
        label_boxes(static_cast<const std::uint8_t *>(in), v.size.data(), count, low, high);
    else if (kind == Kind::I16)
        label_boxes(static_cast<const std::int16_t *>(in), v.size.data(), count, low, high);
    else
        label_boxes(static_cast<const std::int32_t *>(in), v.size.data(), count, low, high);
}

void bound_components(const py::array &labels, py::array &out, int steps, int threads) {
    const Volume v = like(labels, out);
    check(steps >= 1 && steps <= 3, "neighbours differ along 1, 2 or 3 axes");
    check(labels.dtype().kind() == 'i' || labels.dtype().kind() == 'u', "labels are integers");
    std::int32_t *to = integers(out);
    const void *in = labels.data();
    const Index wide = labels.itemsize();
    threads = threads_for(v.voxels, threads);
    py::gil_scoped_release release;
    const auto run = [&](auto type) {  // whether labels are equal does not depend on their sign
        using T = decltype(type);
        components(static_cast<const T *>(in), to, v.channels, v.size.data(), steps, threads);
    };
    if (wide == 1) return run(std::uint8_t());
    if (wide == 2) return run(std::int16_t());
    if (wide == 4) return run(std::int32_t());
    run(std::int64_t());
}

void bound_counts(const py::array &a, const py::array &b, py::array &counts, int threads) {
    check(a.size() == b.size() && a.itemsize() == b.itemsize() && a.dtype().kind() == b.dtype().kind(),
          "label maps are of one size and type");
    check((a.flags() & py::array::c_style) && (b.flags() & py::array::c_style), "label maps are C-ordered");
    check(counts.ndim() == 2 && counts.itemsize() == 8 && counts.dtype().kind() == 'i' &&
              (counts.flags() & py::array::c_style),
          "counts are int64");
    const bool is_unsigned = a.dtype().kind() == 'u';
    check(a.itemsize() == 1 ? is_unsigned : a.dtype().kind() == 'i', "labels are uint8, int16, int32 or int64");
    const Index n = a.size(), rows = counts.shape(0), columns = counts.shape(1);
    const Index wide = a.itemsize();
    const void *x = a.data(), *y = b.data();
    auto *to = static_cast<std::int64_t *>(counts.mutable_data());
    threads = threads_for(n, threads);
    py::gil_scoped_release release;
    const auto run = [&](auto type) {
        using T = decltype(type);
        joint_counts(static_cast<const T *>(x), static_cast<const T *>(y), n, rows, columns, to, threads);
    };
    if (wide == 1) return run(std::uint8_t());
    if (wide == 2) return run(std::int16_t());
    if (wide == 4) return run(std::int32_t());
    run(std::int64_t());
}

void bound_grow(const py::array &in, py::array &out, int steps, bool erode, int threads) {
    const Volume v = like(in, out);
    const std::uint8_t *from = bytes(in);
    check(out.itemsize() == 1, "a mask is of bytes");
    auto *to = static_cast<std::uint8_t *>(out.mutable_data());
    threads = threads_for(v.voxels, threads);
    py::gil_scoped_release release;
    grow(from, to, v.channels, v.size.data(), steps, erode, threads);
}

void bound_filter(const py::array &in, py::array &out, int axis, const std::vector<double> &weights, int threads) {
    const Volume v = like(in, out);
    const Kind in_kind = computed(in), out_kind = computed(out);
    check(axis >= 0 && axis < 3 && weights.size() % 2 == 1, "an axis, and an odd number of weights");
    const void *from = in.data();
    void *to = out.mutable_data();
    Index outer = v.channels, inner = 1;
    for (int a = 0; a < 3; ++a) (a < axis ? outer : inner) *= a == axis ? 1 : v.size[a];
    const Index n = v.size[axis];
    threads = threads_for(v.voxels, threads);
    py::gil_scoped_release release;
    filter_axis(from, in_kind, to, out_kind, outer, n, inner, weights.data(), static_cast<int>(weights.size() / 2),
                threads);
}

void bound_median(const py::array &in, py::array &out, int width, int threads) {
    const Volume v = like(in, out);
    const Kind kind = computed(in);
    check(computed(out) == kind, "input and output are of one type");
    check(width == 3 || width == 5, "a cube of 3 or 5 voxels");
    const void *from = in.data();
    void *to = out.mutable_data();
    threads = threads_for(v.voxels, threads);
    py::gil_scoped_release release;
    median(from, to, kind, v.channels, v.size.data(), width, threads);
}

void bound_noise(py::array &out, std::uint64_t seed_low, std::uint64_t seed_high, int threads) {
    check(out.flags() & py::array::c_style, "the output is C-ordered");
    float *to = floats(out);
    const Index n = out.size();
    threads = threads_for(n, threads);
    py::gil_scoped_release release;
    normal_noise(to, n, seed_low, seed_high, threads);
}

}  // namespace

void bind_regions(py::module_ &m) {
    m.def("distance_transform", &bound_distance, py::arg("target").noconvert(), py::arg("out").noconvert(),
          py::arg("spacing"), py::arg("threads"));
    m.def("distances_at", &bound_distances_at, py::arg("target").noconvert(), py::arg("at").noconvert(),
          py::arg("out").noconvert(), py::arg("spacing"), py::arg("most"), py::arg("threads"));
    m.def("label_boxes", &bound_boxes, py::arg("labels").noconvert(), py::arg("lower").noconvert(),
          py::arg("upper").noconvert());
    m.def("components", &bound_components, py::arg("labels").noconvert(), py::arg("out").noconvert(), py::arg("steps"),
          py::arg("threads"));
    m.def("joint_counts", &bound_counts, py::arg("a").noconvert(), py::arg("b").noconvert(),
          py::arg("counts").noconvert(), py::arg("threads"));
    m.def("grow", &bound_grow, py::arg("mask").noconvert(), py::arg("out").noconvert(), py::arg("steps"),
          py::arg("erode"), py::arg("threads"));
    m.def("filter_axis", &bound_filter, py::arg("volume").noconvert(), py::arg("out").noconvert(), py::arg("axis"),
          py::arg("weights"), py::arg("threads"));
    m.def("median", &bound_median, py::arg("volume").noconvert(), py::arg("out").noconvert(), py::arg("width"),
          py::arg("threads"));
    m.def("normal_noise", &bound_noise, py::arg("out").noconvert(), py::arg("seed_low"), py::arg("seed_high"),
          py::arg("threads"));
}

}  // namespace medframe
