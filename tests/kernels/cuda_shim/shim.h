// Enough of CUDA to run kernels on the host: qualifiers are defined away, and every CUDA thread is a fibre, so that
// barriers are real. Blocks and threads run in random order. One block runs at a time.
#ifndef MEDFRAME_CUDA_SHIM_H
#define MEDFRAME_CUDA_SHIM_H

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __shared__ static
#define __grid_constant__

struct dim3 {
    unsigned x, y, z;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace shim {

enum State { READY, WARP, BLOCK, DONE };

struct Fibre {
    ucontext_t context;
    std::vector<char> stack;
    State state;
    dim3 thread;
};

static std::vector<Fibre> fibres;
static ucontext_t scheduler;
static std::size_t current;
static const std::function<void()> *body;
static std::mt19937 chance(1);

inline void enter() {
    (*body)();
    fibres[current].state = DONE;
    swapcontext(&fibres[current].context, &scheduler);
}

inline void wait(State at) {
    fibres[current].state = at;
    swapcontext(&fibres[current].context, &scheduler);
}

// Lets those go that have all met: warp by warp, else the whole block. A barrier that some thread never reaches aborts.
inline bool release(std::size_t n) {
    bool any = false, all_done = true;
    for (std::size_t w = 0; w < n; w += 32) {
        bool met = true, some = false;
        for (std::size_t t = w; t < n && t < w + 32; ++t) {
            met = met && fibres[t].state == WARP;
            some = some || fibres[t].state == WARP;
        }
        if (met && some) {
            for (std::size_t t = w; t < n && t < w + 32; ++t) fibres[t].state = READY;
            any = true;
        }
    }
    if (any) return true;
    bool met = true;
    for (std::size_t t = 0; t < n; ++t) {
        met = met && fibres[t].state == BLOCK;
        all_done = all_done && fibres[t].state == DONE;
    }
    if (met)
        for (std::size_t t = 0; t < n; ++t) fibres[t].state = READY;
    if (!met && !all_done) {
        std::fprintf(stderr, "shim: a barrier is reached by only some of the threads\n");
        std::abort();
    }
    return met;
}

inline void run_block(std::size_t n) {
    if (fibres.size() < n) fibres.resize(n);
    for (std::size_t t = 0; t < n; ++t) {
        Fibre &f = fibres[t];
        if (f.stack.empty()) f.stack.resize(std::size_t(1) << 17);
        f.state = READY;
        f.thread = {unsigned(t % blockDim.x), unsigned(t / blockDim.x % blockDim.y),
                    unsigned(t / blockDim.x / blockDim.y)};
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.data();
        f.context.uc_stack.ss_size = f.stack.size();
        f.context.uc_link = nullptr;
        makecontext(&f.context, enter, 0);
    }
    std::vector<std::size_t> order(n);
    for (std::size_t t = 0; t < n; ++t) order[t] = t;
    do {
        for (std::size_t t = n; t > 1; --t) std::swap(order[t - 1], order[chance() % t]);
        for (std::size_t t : order)
            if (fibres[t].state == READY) {
                current = t;
                threadIdx = fibres[t].thread;
                swapcontext(&scheduler, &fibres[t].context);
            }
    } while (release(n));
}

inline void run(dim3 grid, dim3 block, const std::function<void()> &kernel) {
    gridDim = grid;
    blockDim = block;
    body = &kernel;
    const std::size_t blocks = std::size_t(grid.x) * grid.y * grid.z;
    std::vector<std::size_t> order(blocks);
    for (std::size_t b = 0; b < blocks; ++b) order[b] = b;
    for (std::size_t b = blocks; b > 1; --b) std::swap(order[b - 1], order[chance() % b]);
    for (std::size_t b : order) {
        blockIdx = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)};
        run_block(std::size_t(block.x) * block.y * block.z);
    }
}

template <class... A, std::size_t... I>
void call(void (*kernel)(A...), void **args, std::index_sequence<I...>) {
    kernel(*static_cast<A *>(args[I])...);
}

template <class... A>
bool launch(void (*kernel)(A...), const unsigned *grid, const unsigned *block, void **args, int count) {
    if (count != int(sizeof...(A))) return false;
    run({grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]},
        [&] { call(kernel, args, std::index_sequence_for<A...>()); });
    return true;
}

}  // namespace shim

inline void __syncthreads() { shim::wait(shim::BLOCK); }
inline void __syncwarp() { shim::wait(shim::WARP); }

template <class T>
T atomicAdd(T *at, T v) {
    const T old = *at;
    *at = old + v;
    return old;
}

template <class T>
T atomicMin(T *at, T v) {
    const T old = *at;
    if (v < old) *at = v;
    return old;
}

inline unsigned __float_as_uint(float v) {
    unsigned out;
    std::memcpy(&out, &v, sizeof out);
    return out;
}

inline float __uint_as_float(unsigned v) {
    float out;
    std::memcpy(&out, &v, sizeof out);
    return out;
}

inline double __longlong_as_double(long long v) {
    double out;
    std::memcpy(&out, &v, sizeof out);
    return out;
}

inline void sincospif(float x, float *sine, float *cosine) {
    *sine = float(std::sin(3.14159265358979323846 * x));
    *cosine = float(std::cos(3.14159265358979323846 * x));
}

#endif
