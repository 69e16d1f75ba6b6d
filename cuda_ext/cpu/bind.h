// What the files that make the Python module share: checks of arrays, and how many threads a call gets.
#ifndef MEDFRAME_BIND_H
#define MEDFRAME_BIND_H

#include <omp.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <stdexcept>
#include <string>

#include "job.h"

namespace py = pybind11;

namespace medframe {
// libgomp's threads do not survive a fork, and a region that waits for them hangs: a forked process works alone.
inline bool forked = false;

inline int threads_for(Index voxels, int requested) {
    if (forked || voxels < 32768) return 1;  // below, waking a thread costs more than it brings
    return std::max(1, std::min(requested, omp_get_max_threads()));
}

// Fresh memory is mapped page by page as it is written, which costs as much as a quick kernel; large pages cost a
// tenth.
inline void ask_for_large_pages(void *p, Index bytes) {
#if defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t page = std::uintptr_t(2) << 20;
    const std::uintptr_t from = (reinterpret_cast<std::uintptr_t>(p) + page - 1) & ~(page - 1);
    const std::uintptr_t to = (reinterpret_cast<std::uintptr_t>(p) + bytes) & ~(page - 1);
    if (to > from) madvise(reinterpret_cast<void *>(from), to - from, MADV_HUGEPAGE);  // advice: failing is no error
#else
    (void)p, (void)bytes;
#endif
}

inline Kind kind_of(const py::array &array) {
    const char kind = array.dtype().kind();
    switch (array.itemsize()) {
        case 1: return kind == 'b' ? Kind::BOOL : kind == 'u' ? Kind::U8 : Kind::I8;
        case 2:  // numpy has no bfloat16: it comes as bytes without a meaning
            if (kind == 'f') return Kind::F16;
            return kind == 'u' ? Kind::U16 : kind == 'i' ? Kind::I16 : kind == 'V' ? Kind::BF16 : Kind::BITS16;
        case 4: return kind == 'f' ? Kind::F32 : kind == 'i' ? Kind::I32 : Kind::BITS32;
        case 8: return kind == 'f' ? Kind::F64 : Kind::BITS64;
        default: throw std::invalid_argument("voxels of " + std::to_string(array.itemsize()) + " bytes");
    }
}

inline bool is_bits(Kind kind) { return kind == Kind::BITS16 || kind == Kind::BITS32 || kind == Kind::BITS64; }

inline void check(bool ok, const char *what) {
    if (!ok) throw std::invalid_argument(what);
}

inline void check_volume(const py::array &array, const char *what) {
    check(array.ndim() == 4 && (array.flags() & py::array::c_style) && array.size() > 0, what);
    for (int a = 1; a < 4; ++a) check(array.shape(a) < (Index(1) << 31) - 8, what);
}

// both of which are C-ordered
inline void check_apart(const py::array &in, const py::array &out) {
    const auto *from = static_cast<const char *>(in.data()), *to = static_cast<const char *>(out.data());
    check(from + in.nbytes() <= to || to + out.nbytes() <= from, "the output is another array");
}

inline Affine affine_of(const py::handle &matrix) {
    const auto m = py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(matrix);
    check(m && m.ndim() == 2 && m.shape(0) == 4 && m.shape(1) == 4, "a matrix is 4 x 4");
    Affine out;
    for (int r = 0; r < 3; ++r)
        for (int c = 0; c < 4; ++c) out.m[r][c] = m.at(r, c);
    return out;
}

inline Knots knots_of(const py::tuple &given) {
    check(given.size() == 4, "knots are (values, order, to_knots, onward)");
    const auto values = given[0].cast<py::array>();
    Knots knots;
    check_volume(values, "knots are a C-ordered (3, n0, n1, n2)");
    check(values.shape(0) == 3 && kind_of(values) == Kind::F32, "knots are (3, n0, n1, n2) float32");
    knots.values = static_cast<const float *>(values.data());
    for (int a = 0; a < 3; ++a) knots.n[a] = static_cast<int>(values.shape(a + 1));
    knots.order = given[1].cast<int>();
    check(knots.order == 1 || knots.order == 3, "knots are of order 1 or 3");
    knots.to_knots = affine_of(given[2]);
    knots.onward = affine_of(given[3]);
    return knots;
}

// The lattices and the stages of a job, from a volume (C, D, H, W) to an output (C, D, H, W).
inline void describe(Job &job, const py::array &volume, const py::array &out, const py::object &lead,
                     const py::list &knots) {
    job.channels = volume.shape(0);
    for (int a = 0; a < 3; ++a) {
        job.in_size[a] = static_cast<int>(volume.shape(a + 1));
        job.out_size[a] = static_cast<int>(out.shape(a + 1));
    }
    job.lead = affine_of(lead);
    for (const auto &k : knots) job.knots.push_back(knots_of(k.cast<py::tuple>()));
}

// one function a family of ops, each in its own bind_*.cpp, called by the module in bind.cpp
void bind_sampling(py::module_ &m);
void bind_regions(py::module_ &m);
void bind_memory(py::module_ &m);

}  // namespace medframe

#endif
