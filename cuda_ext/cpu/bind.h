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
        case 2: return kind == 'u' ? Kind::U16 : kind == 'i' ? Kind::I16 : Kind::BITS16;
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

// one function a family of ops, each in its own bind_*.cpp, called by the module in bind.cpp

}  // namespace medframe

#endif
