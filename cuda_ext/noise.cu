// Standard normal numbers: number i is a function of the seed and i alone, whatever the grid (Box, Muller, "A note on
// the generation of random normal deviates", Ann. Math. Stat. 1958, doi:10.1214/aoms/1177706645).
#include "device.h"
#include "philox.h"

namespace medframe {

// The low half of a 128-bit seed is the key, the high half the upper half of the counter. Four numbers a counter.
template <class Out>
__global__ void __launch_bounds__(256)
    normal_noise(Out *__restrict__ out, Index count, unsigned long long seed_low, unsigned long long seed_high) {
    const Index groups = (count + 3) / 4;
    for (Index g = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; g < groups;
         g += static_cast<Index>(gridDim.x) * blockDim.x) {
        Words c;
        c.at[0] = static_cast<unsigned>(g);
        c.at[1] = static_cast<unsigned>(g >> 32);
        c.at[2] = static_cast<unsigned>(seed_high);
        c.at[3] = static_cast<unsigned>(seed_high >> 32);
        c = philox(c, static_cast<unsigned>(seed_low), static_cast<unsigned>(seed_low >> 32));
        float v[4];
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
            const float radius = sqrtf(-2 * logf(unit(c.at[2 * pair])));
            sincospif(2 * unit(c.at[2 * pair + 1]), &v[2 * pair + 1], &v[2 * pair]);
            v[2 * pair] *= radius;
            v[2 * pair + 1] *= radius;
        }
#pragma unroll
        for (int k = 0; k < 4; ++k)
            if (4 * g + k < count) out[4 * g + k] = Store<Out>::from(v[k]);
    }
}

}  // namespace medframe
