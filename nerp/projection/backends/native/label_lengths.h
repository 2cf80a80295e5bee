// Path lengths through every label of a map in one traversal.
//
// Labels change rarely along a ray: a lane only lengthens its current run, and pays for the table
// and the memory of its sums when the label changes.
#pragma once

#include "siddon.h"

namespace nerp {
namespace NERP_ISA {

// The runs that a packet's lanes are in.
struct Runs {
    Floats label, height;    // of the current run
    float* sums[lanes];      // the ray's row of lengths, null for a lane without one
    float mm_per_slab[lanes];
};

inline int32_t channel_of(const NerpLabels& labels, float label) {
    const float rounded = label - float(labels.lowest) + 0.5f;
    return rounded >= 0 && rounded < float(labels.table_size) ? labels.table[int32_t(rounded)] : -1;
}

HOT void end_runs(Runs& runs, Ints changed, const NerpLabels& labels) {
    for (uint32_t left = bits(changed); left; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        const int32_t channel = channel_of(labels, runs.label[lane]);
        if (channel >= 0 && runs.sums[lane]) runs.sums[lane][channel] += runs.height[lane] * runs.mm_per_slab[lane];
    }
}

HOT void lengthen(Runs& runs, Floats label, Floats height, const NerpLabels& labels) {
    const Ints changed = label != runs.label;
    if (any(changed)) {
        end_runs(runs, changed, labels);
        runs.height = changed ? broadcast(0.0f) : runs.height;
        runs.label = label;
    }
    runs.height += height;
}

HOT void measure(Climb& packet, int n_slabs, const float* map, const NerpLabels& labels, Runs& runs) {
    const Lookahead ask(packet);
    traverse(packet, n_slabs, [&](const Slab& slab) ALWAYS {
        ask(map, slab.last);
        const Floats first = gather(map, slab.first), middle = gather(map, slab.middle), last = gather(map, slab.last);
        if (!any((first != runs.label) | (middle != runs.label) | (last != runs.label))) {
            runs.height += slab.high - slab.low;
            return;
        }
        const Floats before = slab.before(), after = slab.after();
        lengthen(runs, first, before - slab.low, labels);
        lengthen(runs, middle, after - before, labels);
        lengthen(runs, last, slab.high - after, labels);
    });
}

inline Runs begin_runs(const NerpScene& scene, int view, const Patch& patch, int n_channels, float* lengths) {
    Runs runs;
    runs.label = runs.height = broadcast(0.0f);
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray ray = ray_of_lane(scene, view, patch, lane);
        runs.sums[lane] = ray.hits() ? lengths + ray.number * n_channels : nullptr;
        runs.mm_per_slab[lane] = ray.hits() ? float(1 / fastest_speed(ray)) : 0.0f;
    }
    return runs;
}

inline void label_tile(const NerpScene& scene, const Tile& tile, const float* map, const NerpLabels& labels,
                       float* lengths) {
    TileClimb packets(scene, tile);
    Runs runs[most_packets];
    for (int i = 0; i < packets.count(); ++i)
        runs[i] = begin_runs(scene, tile.view, packets.patch(i), labels.n_channels, lengths);
    packets.run([&](int i, Climb& packet, int n_slabs) { measure(packet, n_slabs, map, labels, runs[i]); });
    for (int i = 0; i < packets.count(); ++i) end_runs(runs[i], broadcast(-1), labels);
}

}  // namespace NERP_ISA
}  // namespace nerp
