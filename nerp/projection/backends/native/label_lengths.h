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
    int64_t apart;       // floats from one label's image to the next
};

// Where the lanes' labels stand in the table; -1 for none.
HOT Ints places_of(const NerpLabels& labels, Floats label) {
    const Floats place = label - float(labels.lowest) + 0.5f;
    const Ints listed = (place >= broadcast(0.0f)) & (place < broadcast(float(labels.table_size)));
    return listed ? truncate(place) : broadcast(-1);
}

HOT void end_run(const Runs& runs, int lane, float height) {
    if (runs.sum[lane]) *runs.sum[lane] += height - runs.since[lane];
}

// Asks at once for what the run's end will need.
HOT void begin_run(Runs& runs, int lane, int32_t place, float height, const NerpLabels& labels) {
    const int32_t channel = place < 0 ? -1 : labels.table[place];
    runs.since[lane] = height;
    runs.sum[lane] = channel >= 0 && runs.pixel[lane] ? runs.pixel[lane] + channel * runs.apart : nullptr;
    __builtin_prefetch(runs.sum[lane], 1);
}

// Not inlined, lest the rare case take registers from the common one.
__attribute__((noinline)) inline void change_runs(Runs& runs, uint32_t changed, Floats label, Floats height,
                                                  const NerpLabels& labels) {
    alignas(64) int32_t place[lanes];
    alignas(64) float at[lanes];
    store(place, places_of(labels, label));
    store(at, height);
    for (; changed; changed &= changed - 1) {
        const int lane = __builtin_ctz(changed);
        end_run(runs, lane, at[lane]);
        begin_run(runs, lane, place[lane], at[lane], labels);
    }
    runs.label = label;
}

HOT void measure(Climb& packet, int n_steps, const float* map, const NerpLabels& labels, Runs& runs) {
    traverse(packet, n_steps, map, [&](const Step& at) ALWAYS {
        const Floats label = gather(map, at.voxel);
        const uint32_t changed = bits(label != runs.label);
        if (changed) change_runs(runs, changed, label, at.low, labels);
    });
}

inline Runs begin_runs(const NerpScene& scene, int view, const Patch& patch, Floats entry, const NerpLabels& labels,
                       float* lengths) {
    Runs runs;
    runs.label = broadcast(float(labels.lowest));
    runs.apart = int64_t(scene.rows) * scene.columns;
    for (int lane = 0; lane < lanes; ++lane) {
        const Ray ray = ray_of_lane(scene, view, patch, lane);
        const int64_t place = ray.number + view * (labels.n_channels - 1) * runs.apart;
        runs.pixel[lane] = ray.hits() ? lengths + place : nullptr;
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
    packets.run([&](int i, Climb& packet, int n_steps) { measure(packet, n_steps, map, labels, runs[i]); });
    for (int i = 0; i < packets.count(); ++i)
        for (int lane = 0; lane < lanes; ++lane) end_run(runs[i], lane, packets.height(i)[lane]);
}

}  // namespace NERP_ISA
}  // namespace nerp
