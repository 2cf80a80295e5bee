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

// Where the labels of a few steps changed, kept for later: the walk itself then has no branches.
struct Changes {
    uint32_t lanes_changed[steps_together];
    alignas(64) Floats label[steps_together], height[steps_together];
    int count = 0;

    HOT void note(Floats from, Floats to, Floats at) {
        lanes_changed[count] = bits(from != to);
        label[count] = to, height[count] = at;
        count += lanes_changed[count] != 0;
    }
};

inline void change_runs(Runs& runs, const Changes& changes, int i, const NerpLabels& labels) {
    alignas(64) int32_t place[lanes];
    alignas(64) float at[lanes];
    store(place, places_of(labels, changes.label[i]));
    store(at, changes.height[i]);
    for (uint32_t left = changes.lanes_changed[i]; left; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        end_run(runs, lane, at[lane]);
        begin_run(runs, lane, place[lane], at[lane], labels);
    }
}

template <typename Value>
HOT void measure(Climb& packet, int n_steps, const Value* map, const NerpLabels& labels, Runs& runs) {
    Changes changes;
    Floats label = runs.label;
    traverse(packet, n_steps, map, [&](const Step& at) ALWAYS {
        const Floats next = as_floats(gather(map, at.voxel));
        changes.note(label, next, at.low);
        label = next;
    });
    runs.label = label;
    for (int i = 0; i < changes.count; ++i) change_runs(runs, changes, i, labels);
}

template <typename Value>
inline Runs begin_runs(const NerpScene& scene, int view, const Patch& patch, const Climb& packet, const Value* map,
                       const NerpLabels& labels, float* lengths) {
    Runs runs;
    alignas(64) int32_t place[lanes];
    runs.label = packet.n_steps ? as_floats(gather(map, packet.voxel)) : broadcast(0.0f);
    runs.apart = int64_t(scene.rows) * scene.columns;
    store(place, places_of(labels, runs.label));
    for (int lane = 0; lane < lanes; ++lane) {
        const int64_t number = number_of_lane(scene, view, patch, lane);
        runs.pixel[lane] = number < 0 ? nullptr : lengths + number + view * (labels.n_channels - 1) * runs.apart;
        begin_run(runs, lane, place[lane], packet.low[lane], labels);
    }
    return runs;
}

template <typename Value>
inline void label_tile(const NerpScene& scene, const Tile& tile, const Value* map, const NerpLabels& labels,
                       float* lengths) {
    TileClimb packets(scene, tile);
    Runs runs[most_packets];
    for (int i = 0; i < packets.count(); ++i)
        runs[i] = begin_runs(scene, tile.view, packets.patch(i), packets[i], map, labels, lengths);
    packets.run([&](int i, Climb& packet, int n_steps) { measure(packet, n_steps, map, labels, runs[i]); });
    for (int i = 0; i < packets.count(); ++i)
        for (int lane = 0; lane < lanes; ++lane) end_run(runs[i], lane, packets[i].low[lane]);
}

}  // namespace NERP_ISA
}  // namespace nerp
