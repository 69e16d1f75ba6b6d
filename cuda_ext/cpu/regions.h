// Distances, components, counts and neighbourhoods of label maps: what bind_regions.cpp hands out.
#ifndef MEDFRAME_REGIONS_H
#define MEDFRAME_REGIONS_H

#include "job.h"

namespace medframe {

// Exact Euclidean distances to the nearest non-zero voxel of (channels, *size); infinite in a channel without one.
template <class Real>
void distance_transform(const std::uint8_t *target, Real *out, Index channels, const int *size, const Real *spacing,
                        int threads);

// The same at the voxels of one (*size) where `at` is not 0, in their order. False, with answers missing, where more than
// `most` places would have to be looked at.
bool distances_at(const std::uint8_t *target, const std::uint8_t *at, double *out, const int *size,
                  const double *spacing, Index most, int threads);

// The box around each label from 1 to `count` in one (*size): it widens the (count, 3) bounds it is given.
template <class T>
void label_boxes(const T *labels, const int *size, Index count, std::int64_t *lower, std::int64_t *upper);

// Components of equal voxels that are not 0, numbered 1, 2, ... by their first voxel, for each channel; neighbours
// differ by 1 along at most `steps` axes.
template <class T>
void components(const T *labels, std::int32_t *out, Index channels, const int *size, int steps, int threads);

// counts[a * columns + b] of a pair of label maps; values outside the table are not counted.
template <class T>
void joint_counts(const T *a, const T *b, Index voxels, Index rows, Index columns, std::int64_t *counts, int threads);

// One step of binary dilation (or of erosion, with what lies outside set) of (channels, *size).
void grow(const std::uint8_t *in, std::uint8_t *out, Index channels, const int *size, int steps, bool erode,
          int threads);

// A filter of weights (2 * radius + 1) along one axis, edges repeated; sums are floats.
void filter_axis(const void *in, Kind in_kind, void *out, Kind out_kind, Index outer, Index n, Index inner,
                 const double *weights, int radius, int threads);

// The median of a cube of 3 or 5 voxels, edges repeated; axes of size 1 have no neighbours. `kind` is of both.
void median(const void *in, void *out, Kind kind, Index channels, const int *size, int width, int threads);

// Standard normal numbers of Philox and Box-Muller, as cuda_ext/noise.cu draws them.
void normal_noise(float *out, Index count, std::uint64_t seed_low, std::uint64_t seed_high, int threads);

}  // namespace medframe

#endif
