// From what was computed to what is stored: rounding half to even, saturation, or a plain copy.
#include <cstring>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "job.h"

namespace medframe {
namespace {

template <class From, class To>
MF_CLONES void convert(const From *__restrict from, To *__restrict to, Index n) {
    for (Index k = 0; k < n; ++k) to[k] = static_cast<To>(from[k]);
}

template <class From, class To>
MF_CLONES void round_row(const From *__restrict from, To *__restrict to, Index n) {
    // 32-bit limits are no floats: round those in double
    using Work = std::conditional_t<(sizeof(To) > 2), double, From>;
    const Work lo = std::numeric_limits<To>::min(), hi = std::numeric_limits<To>::max();
    const Work magic = sizeof(Work) == 4 ? Work(12582912.0) : Work(6755399441055744.0);
    for (Index k = 0; k < n; ++k) to[k] = rounded<To, Work>(from[k], lo, hi, magic);
}

// half rounds to even, so 0.5 is still false; NaN is true, as everywhere in C++ and torch
template <class From>
MF_CLONES void truth(const From *__restrict from, std::uint8_t *__restrict to, Index n) {
    for (Index k = 0; k < n; ++k) to[k] = !(from[k] <= From(0.5) && from[k] >= From(-0.5));
}

MF_CLONES void halve(const float *__restrict from, Half *__restrict to, Index n) {
    for (Index k = 0; k < n; ++k) to[k] = half_of(from[k]);
}

MF_CLONES void shorten(const float *__restrict from, Bfloat *__restrict to, Index n) {
    for (Index k = 0; k < n; ++k) to[k] = bfloat_of(from[k]);
}

template <class From>
MF_CLONES void widen(const From *__restrict from, float *__restrict to, Index n) {
    for (Index k = 0; k < n; ++k) to[k] = number(from[k]);
}

template <class From, class To, void (*F)(const From *, To *, Index)>
void erased(const void *from, void *to, Index n) {
    F(static_cast<const From *>(from), static_cast<To *>(to), n);
}

template <int BYTES>
void copy(const void *from, void *to, Index n) {
    std::memcpy(to, from, static_cast<std::size_t>(n) * BYTES);
}

template <class From>
Store from_real(Kind to) {
    switch (to) {
        case Kind::U8: return erased<From, std::uint8_t, round_row<From, std::uint8_t>>;
        case Kind::I8: return erased<From, std::int8_t, round_row<From, std::int8_t>>;
        case Kind::U16: return erased<From, std::uint16_t, round_row<From, std::uint16_t>>;
        case Kind::I16: return erased<From, std::int16_t, round_row<From, std::int16_t>>;
        case Kind::I32: return erased<From, std::int32_t, round_row<From, std::int32_t>>;
        case Kind::F32: return erased<From, float, convert<From, float>>;
        case Kind::F64: return erased<From, double, convert<From, double>>;
        case Kind::BOOL: return erased<From, std::uint8_t, truth<From>>;
        default: return nullptr;
    }
}

template <class From>
Store to_float() {
    return erased<From, float, convert<From, float>>;
}

}  // namespace

int bytes_of(Kind kind) {
    switch (kind) {
        case Kind::U8:
        case Kind::I8:
        case Kind::BOOL:
        case Kind::BITS8: return 1;
        case Kind::U16:
        case Kind::I16:
        case Kind::F16:
        case Kind::BF16:
        case Kind::BITS16: return 2;
        case Kind::I32:
        case Kind::F32:
        case Kind::BITS32: return 4;
        default: return 8;
    }
}

Store store_for(Kind from, Kind to) {
    Store store = nullptr;
    if (from == to) {
        const int bytes = bytes_of(from);
        store = bytes == 1 ? copy<1> : bytes == 2 ? copy<2> : bytes == 4 ? copy<4> : copy<8>;
    } else if (from == Kind::F32 && to == Kind::F16) {
        store = erased<float, Half, halve>;
    } else if (from == Kind::F32 && to == Kind::BF16) {
        store = erased<float, Bfloat, shorten>;
    } else if (from == Kind::F32) {
        store = from_real<float>(to);
    } else if (from == Kind::F64) {
        store = from_real<double>(to);
    } else if (to == Kind::F32) {
        switch (from) {
            case Kind::U8:
            case Kind::BOOL: store = to_float<std::uint8_t>(); break;
            case Kind::I8: store = to_float<std::int8_t>(); break;
            case Kind::U16: store = to_float<std::uint16_t>(); break;
            case Kind::I16: store = to_float<std::int16_t>(); break;
            case Kind::I32: store = to_float<std::int32_t>(); break;
            case Kind::F16: store = erased<Half, float, widen<Half>>; break;
            case Kind::BF16: store = erased<Bfloat, float, widen<Bfloat>>; break;
            default: break;
        }
    }
    if (!store) throw std::invalid_argument("no conversion between these kinds of voxels");
    return store;
}

}  // namespace medframe
