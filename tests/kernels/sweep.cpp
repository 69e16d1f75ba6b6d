// Pulls, medians, filters, noise and components over awkward shapes, in a program of its own: test_kernels_safety.py builds it with sanitizers.
// Arrays are of exactly their size, so that a read or write beyond them is caught. Prints a sum of all results.
#include <cstdio>

#include "cpu/regions.h"

using namespace medframe;

int main() {
    const int sizes[][3] = {{1, 1, 1}, {1, 1, 2}, {1, 2, 1}, {2, 1, 1}, {1, 1, 9},
                            {5, 1, 7}, {3, 4, 5}, {2, 9, 33}, {9, 7, 17}};
    const double places[][12] = {
        {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0},          {1, 0, 0, 0.5, 0, 1, 0, -0.5, 0, 0, 0.3, 0.25},
        {0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0},          {-1, 0, 0, 4, 0, -1, 0, 3, 0, 0, -1, 4},
        {0.9, 0.2, 0.1, 0, 0.1, 1, -0.2, 1, 0.2, -0.1, 0.8, -1}, {1, 1e-17, 1e-17, -1, 0, 1, 1e-9, 0, 1e-17, 0, 1, 2},
        {1e300, 1, 0, 0, 0, 1e-300, 1, 0, 1, 0, 0, -1e300},      {1e9, 1, 2, 3, 1, 1e9, 1, 3, 1, 1, 1e9, 1},
    };
    double sum = 0;
    for (const auto &in_size : sizes)
        for (const auto &out_size : sizes)
            for (const auto &m : places)
                for (int border = ZERO; border <= WRAP; ++border)
                    for (const int order : {0, 1, 3}) {
                        Job job;
                        std::copy(in_size, in_size + 3, job.in_size);
                        std::copy(out_size, out_size + 3, job.out_size);
                        for (int k = 0; k < 12; ++k) job.lead.m[k / 4][k % 4] = m[k];
                        job.channels = 2;
                        job.order = order;
                        job.border = static_cast<Border>(border);
                        job.fill = 1;
                        job.fill_bits = 0x3f800000;
                        job.threads = 1;
                        job.in_kind = job.out_kind = Kind::F32;
                        const std::vector<float> in(2 * job.in_voxels(), 1.0f);
                        std::vector<float> out(2 * job.out_voxels(), -1.0f);
                        job.in = in.data();
                        job.out = out.data();
                        int follows[3];
                        if (aligned(job.lead, job.out_size, follows))
                            pull_separable(job, follows);
                        else
                            pull_rows(job);
                        for (const float v : out) sum += v > 0.999f && v < 1.001f;
                        sum -= static_cast<double>(out.size());  // all ones: whatever is read in bounds is one
                    }
    for (const auto &size : sizes)
        for (const int width : {3, 5}) {
            const std::vector<float> in(2 * size[0] * size[1] * size[2], 1.0f);
            std::vector<float> out(in.size(), -1.0f);
            median(in.data(), out.data(), Kind::F32, 2, size, width, 1);
            for (const float v : out) sum += v - 1;
        }
    for (const Index n : {1, 2, 5, 70})
        for (const Index inner : {1, 3, 257})
            for (const int radius : {0, 1, 4})
                for (const Kind kind : {Kind::F32, Kind::I16, Kind::F16}) {  // all ones, of weights that sum to one
                    const std::vector<double> weights(2 * radius + 1, 1.0 / (2 * radius + 1));
                    const Index count = 2 * n * inner;
                    const std::vector<float> ones(count, 1.0f);
                    std::vector<char> in(count * bytes_of(kind)), out(in.size());
                    std::vector<float> back(count);
                    store_for(Kind::F32, kind)(ones.data(), in.data(), count);
                    filter_axis(in.data(), kind, out.data(), kind, 2, n, inner, weights.data(), radius, 2);
                    store_for(kind, Kind::F32)(out.data(), back.data(), count);
                    for (const float v : back) sum += v < 0.999f || v > 1.001f;
                }
    for (const Index count : {1, 3, 4, 255, 256, 257, 1000}) {
        std::vector<float> noise(count, 1e9f);
        normal_noise(noise.data(), count, 1, 2, 2);
        for (const float v : noise) sum += !(v > -9 && v < 9);
    }
    const int fields[][3] = {{1, 1, 1}, {1, 1, 64}, {3, 1, 63}, {1, 4, 65}, {2, 3, 128}, {5, 1, 130}, {4, 5, 7}};
    for (const auto &size : fields)
        for (int steps = 1; steps <= 3; ++steps)
            for (const int threads : {1, 3})
                for (const int values : {1, 4}) {
                    const Index n = 2 * size[0] * size[1] * size[2];
                    std::vector<std::uint8_t> labels(n);
                    for (Index i = 0; i < n; ++i) labels[i] = i * 2654435761u >> 13 & 1 ? 1 + (i * 40503u >> 7) % values : 0;
                    std::vector<std::int32_t> out(n, -1);
                    components(labels.data(), out.data(), 2, size, steps, threads);
                    for (Index i = 0; i < n; ++i) {
                        sum += (out[i] > 0) != (labels[i] > 0);
                        sum += i % size[2] > 0 && out[i] != out[i - 1] && labels[i] == labels[i - 1];  // one run, one number
                    }
                }
    std::printf("%g\n", sum);
    return sum == 0 ? 0 : 1;
}
