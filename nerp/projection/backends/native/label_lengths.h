// Path lengths through every label of a map in one traversal.
//
// Labels change rarely along a ray: a lane pays for the table and the memory of its sums only where
// the label changes. Lengths lie as one image a label: neighbours change near each other.
#pragma once

#include "siddon.h"

namespace nerp {
namespace NERP_ISA {

// The runs that a packet's lanes are in. `pixel` is the ray's in the first label's image, `sum` the one
// that the run will count for; null for a lane without a ray, and for a label that nobody asked for.
struct Runs {
    Floats label;
    float since[lanes];  // height at which the run began
    float* sum[lanes];
    float* pixel[lanes];
    float mm_per_slab[lanes];
    int64_t apart;       // floats from one label's image to the next
};

inline int32_t channel_of(const NerpLabels& labels, float label) {
    const float rounded = label - float(labels.lowest) + 0.5f;
    return rounded >= 0 && rounded < float(labels.table_size) ? labels.table[int32_t(rounded)] : -1;
}

HOT void end_run(const Runs& runs, int lane, float height) {
    if (runs.sum[lane]) *runs.sum[lane] += (height - runs.since[lane]) * runs.mm_per_slab[lane];
}

// Asks at once for what the run's end will need.
HOT void begin_run(Runs& runs, int lane, float label, float height, const NerpLabels& labels) {
    const int32_t channel = channel_of(labels, label);
    runs.since[lane] = height;
    runs.sum[lane] = channel >= 0 && runs.pixel[lane] ? runs.pixel[lane] + channel * runs.apart : nullptr;
    __builtin_prefetch(runs.sum[lane], 1);
}

HOT uint64_t changes(Floats from, Floats to) { return bits(from != to); }

// The changes between the voxels of a slab, all in one loop: where a loop ends is hard to foresee, and
// three would be thrice as hard.
HOT void change_runs(Runs& runs, const Floats (&label)[4], const Slab& slab, const NerpLabels& labels) {
    alignas(64) float begun[3 * lanes], height[3 * lanes];
    const Floats heights[3] = {slab.low, slab.before(), slab.after()};
    uint64_t left = 0;
    for (int k = 0; k < 3; ++k) {
        store(begun + k * lanes, label[k + 1]);
        store(height + k * lanes, heights[k]);
        left |= changes(label[k], label[k + 1]) << (k * lanes);
    }
    for (; left; left &= left - 1) {
        const int i = __builtin_ctzll(left), lane = i % lanes;
        end_run(runs, lane, height[i]);
        begin_run(runs, lane, begun[i], height[i], labels);
    }
    runs.label = label[3];
}

HOT void measure(Climb& packet, int n_slabs, const float* map, const NerpLabels& labels, Runs& runs) {
    const Lookahead ask(packet);
    traverse(packet, n_slabs, [&](const Slab& slab) ALWAYS {
        ask(map, slab.last);
        const Floats first = gather(map, slab.first), middle = gather(map, slab.middle);
        const Floats last = any(slab.all_three) ? gather(map, slab.last) : middle;
        if (any((first != runs.label) | (middle != runs.label) | (last != runs.label)))
            change_runs(runs, {runs.label, first, middle, last}, slab, labels);
    });
}

inline Runs begin_runs(const NerpScene& scene, int view, const Patch& patch, Floats entry, const NerpLabels& labels,
                       float* lengths) {
    Runs runs;
    runs.label = broadcast(0.0f);
    runs.apart = int64_t(scene.rows) * scene.columns;
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray ray = ray_of_lane(scene, view, patch, lane);
        const int64_t place = ray.number + view * (labels.n_channels - 1) * runs.apart;
        runs.pixel[lane] = ray.hits() ? lengths + place : nullptr;
        runs.mm_per_slab[lane] = ray.hits() ? float(1 / fastest_speed(ray)) : 0.0f;
        begin_run(runs, lane, 0, entry[lane], labels);
    }
    return runs;
}

inline void label_tile(const NerpScene& scene, const Tile& tile, const float* map, const NerpLabels& labels,
                       float* lengths) {
    TileClimb packets(scene, tile);
    Runs runs[most_packets];
    for (int i = 0; i < packets.count(); ++i)
        runs[i] = begin_runs(scene, tile.view, packets.patch(i), packets.height(i), labels, lengths);
    packets.run([&](int i, Climb& packet, int n_slabs) { measure(packet, n_slabs, map, labels, runs[i]); });
    for (int i = 0; i < packets.count(); ++i)
        for (int lane = 0; lane < lanes; ++lane) end_run(runs[i], lane, packets.height(i)[lane]);
}

}  // namespace NERP_ISA
}  // namespace nerp
