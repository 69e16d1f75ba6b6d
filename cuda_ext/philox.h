// Philox4x32-10, a counter-based generator: four random words are a function of a counter and a key alone (Salmon,
// Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, doi:10.1145/2063384.2063405).
#ifndef MEDFRAME_PHILOX_H
#define MEDFRAME_PHILOX_H

#include "sampling.h"

namespace medframe {

struct Words {
    unsigned at[4];
};

MF_HD unsigned upper_half(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}

MF_HD Words philox(Words c, unsigned k0, unsigned k1) {
    for (int round = 0; round < 10; ++round) {
        const unsigned h0 = upper_half(0xD2511F53u, c.at[0]), l0 = 0xD2511F53u * c.at[0];
        const unsigned h1 = upper_half(0xCD9E8D57u, c.at[2]), l1 = 0xCD9E8D57u * c.at[2];
        c.at[0] = h1 ^ c.at[1] ^ k0;
        c.at[1] = l1;
        c.at[2] = h0 ^ c.at[3] ^ k1;
        c.at[3] = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

// A number in (0, 1]: never 0, so that its logarithm is finite.
MF_HD float unit(unsigned word) {
#if defined(__CUDA_ARCH__)
    const float whole = static_cast<float>(word);
#else  // the same bit for bit: both halves are exact, and vectors convert signed numbers on more machines
    const float whole = static_cast<float>(static_cast<int>(word >> 16)) * 65536.0f +
                        static_cast<float>(static_cast<int>(word & 0xffffu));
#endif
    return (whole + 0.5f) * 2.3283064365386963e-10f;
}

}  // namespace medframe

#endif
