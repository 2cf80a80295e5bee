// Areal densities of several materials in one traversal.
//
// Each voxel holds one number, its code: a place between knots at 0, 1, 2, ... at which the density of
// every material is given; between knots densities are linear. A ray sums length x min(code, j) for each
// knot j, from which the path that counts for each knot follows, and from that all materials: the walk
// costs the same for one material as for eight. Slots, such as organs, have densities of their own: a
// code may carry its slot, as code + slot x codes_per_slot, and sums are booked where the slot changes.
#pragma once

#include "siddon.h"

namespace nerp {
namespace NERP_ISA {

// Sums over a run within one slot: at_j of length x min(code, j). (Names, not an array: compilers keep
// arrays in memory.)
struct KnotSums {
    Floats at_1, at_2, at_3, at_4, at_5, at_6, at_7;

    HOT void add(Floats length, Floats code) {
        at_1 += length * minimum(code, broadcast(1.0f));
        at_2 += length * minimum(code, broadcast(2.0f));
        at_3 += length * minimum(code, broadcast(3.0f));
        at_4 += length * minimum(code, broadcast(4.0f));
        at_5 += length * minimum(code, broadcast(5.0f));
        at_6 += length * minimum(code, broadcast(6.0f));
        at_7 += length * code;
    }

    HOT void clear(Ints where) {
        const Floats none = broadcast(0.0f);
        at_1 = where ? none : at_1, at_2 = where ? none : at_2, at_3 = where ? none : at_3;
        at_4 = where ? none : at_4, at_5 = where ? none : at_5, at_6 = where ? none : at_6;
        at_7 = where ? none : at_7;
    }
};

// The same as rows of lanes, to be read lane by lane.
struct KnotLanes {
    alignas(64) float at[material_knots][lanes];  // row 0 is not used
    HOT void keep(const KnotSums& s) {
        store(at[1], s.at_1), store(at[2], s.at_2), store(at[3], s.at_3), store(at[4], s.at_4);
        store(at[5], s.at_5), store(at[6], s.at_6), store(at[7], s.at_7);
    }
};

// One pixel's areal densities.
typedef float Amounts __attribute__((vector_size(4 * most_materials)));

// The tile's areal densities: for each group one block of `tile_pixels` times `most_materials`.
struct TileSums {
    const NerpMaterials& materials;
    float* blocks;
    bool* touched;  // by group: a block is cleared when it is first added to

    float* block(int group) const { return blocks + size_t(group) * tile_pixels * most_materials; }

    HOT float* place(int group, int pixel) const {
        if (__builtin_expect(!touched[group], 0)) {
            std::memset(block(group), 0, sizeof(float) * tile_pixels * most_materials);
            touched[group] = true;
        }
        return block(group) + pixel * most_materials;
    }

    // Adds a run of one lane: its length, and its sums. The path of a knot is negative by rounding alone.
    HOT void add(int32_t slot, int pixel, float length, const KnotLanes& sums, int lane) const {
        if (slot < 0 || slot >= materials.n_slots) return;
        float* const to = place(materials.group_of[slot], pixel);
        const float* densities = materials.densities + size_t(slot) * material_knots * most_materials;
        Amounts amounts, density;
        std::memcpy(&amounts, to, sizeof amounts);
        float below = length, last = 0;  // the path from this knot on, and the sum at the knot before
        for (int j = 0; j < material_knots; ++j, densities += most_materials) {
            const float sum = j + 1 < material_knots ? sums.at[j + 1][lane] : last;
            const float above = sum - last, path = below > above ? below - above : 0;
            std::memcpy(&density, densities, sizeof density);
            amounts += density * path;
            below = above, last = sum;
        }
        std::memcpy(to, &amounts, sizeof amounts);
    }
};

// The runs that a packet's lanes are in.
struct SlotRuns {
    KnotSums sums;
    Floats slot;                     // times codes_per_slot
    alignas(64) float since[lanes];  // height at which the run began
    int32_t pixel[lanes];            // of the tile; -1 for a lane without a ray
};

HOT int32_t slot_number(float slot) { return int32_t(slot * (1.0f / codes_per_slot)); }

HOT void end_slot_run(const SlotRuns& runs, const KnotLanes& sums, float slot, int lane, float height,
                      const TileSums& to) {
    if (runs.pixel[lane] >= 0) to.add(slot_number(slot), runs.pixel[lane], height - runs.since[lane], sums, lane);
}

// Books the runs of the lanes that `changed` has bits of.
__attribute__((noinline)) inline void change_slots(SlotRuns& runs, const KnotSums& sums, uint32_t changed, Floats slot,
                                                   Floats height, const TileSums& to) {
    KnotLanes kept;
    alignas(64) float slots[lanes], heights[lanes];
    kept.keep(sums), store(slots, slot), store(heights, height);
    for (; changed; changed &= changed - 1) {
        const int lane = __builtin_ctz(changed);
        end_slot_run(runs, kept, slots[lane], lane, heights[lane], to);
        runs.since[lane] = heights[lane];
    }
}

HOT Floats slot_part(Floats code) {
    return __builtin_convertvector(truncate(code * (1.0f / codes_per_slot)), Floats) * float(codes_per_slot);
}

// A few steps of a packet, kept for later: the walk and the sums then have the registers for themselves.
struct Steps {
    alignas(64) Floats code[steps_together], low[steps_together + 1];
    int count = 0;
};

HOT void walk(Climb& packet, int n_steps, const float* codes, Steps& steps) {
    traverse(packet, n_steps, codes, [&](const Step& at) ALWAYS {
        steps.code[steps.count] = gather(codes, at.voxel);
        steps.low[steps.count++] = at.low;
    });
    steps.low[steps.count] = packet.low;
}

template <bool by_slot>
HOT void sum_codes(const Steps& steps, SlotRuns& runs, const TileSums& to) {
    KnotSums sums = runs.sums;
    Floats slot = runs.slot;
    for (int i = 0; i < steps.count; ++i) {
        Floats code = steps.code[i];
        if (by_slot) {
            const Floats next = slot_part(code);
            const Ints changed = next != slot;
            if (const uint32_t which = bits(changed); __builtin_expect(which != 0, 0)) {
                change_slots(runs, sums, which, slot, steps.low[i], to);
                sums.clear(changed);
            }
            slot = next;
            code -= next;
        }
        sums.add(steps.low[i + 1] - steps.low[i], code);
    }
    runs.sums = sums, runs.slot = slot;
}

inline SlotRuns begin_slot_runs(const Tile& tile, const Patch& patch, const Climb& packet,
                                const float* codes, bool by_slot) {
    SlotRuns runs{};
    if (by_slot && packet.n_steps) runs.slot = slot_part(gather(codes, packet.voxel));
    store(runs.since, packet.low);
    for (int lane = 0; lane < lanes; ++lane) {
        const int row = patch.row + lane / patch.wide * patch.apart - tile.row;
        const int column = patch.column + lane % patch.wide * patch.apart - tile.column;
        const bool counts = packet.exit[lane] > 0 && row < tile.rows && column < tile.columns;
        runs.pixel[lane] = counts ? row * tile.columns + column : -1;
    }
    return runs;
}

// Writes the tile's part of each group's images.
inline void write_materials(const NerpScene& scene, const Tile& tile, const TileSums& sums, float* image) {
    const NerpMaterials& materials = sums.materials;
    const int64_t pixels = int64_t(scene.rows) * scene.columns;
    for (int group = 0; group < materials.n_groups; ++group) {
        if (!sums.touched[group]) continue;
        const float* const block = sums.block(group);
        for (int m = 0; m < materials.n_materials; ++m) {
            const int64_t channel = (int64_t(tile.view) * materials.n_groups + group) * materials.n_materials + m;
            float* const to = image + channel * pixels + int64_t(tile.row) * scene.columns + tile.column;
            for (int row = 0; row < tile.rows; ++row)
                for (int column = 0; column < tile.columns; ++column)
                    to[int64_t(row) * scene.columns + column] =
                        block[(row * tile.columns + column) * most_materials + m];
        }
    }
}

template <bool by_slot>
inline void material_tile_of(const NerpScene& scene, const Tile& tile, const float* codes, const TileSums& sums) {
    TileClimb packets(scene, tile);
    SlotRuns runs[most_packets];
    for (int i = 0; i < packets.count(); ++i)
        runs[i] = begin_slot_runs(tile, packets.patch(i), packets[i], codes, by_slot);
    packets.run([&](int i, Climb& packet, int n_steps) {
        Steps steps;
        walk(packet, n_steps, codes, steps);
        sum_codes<by_slot>(steps, runs[i], sums);
    });
    for (int i = 0; i < packets.count(); ++i) {
        KnotLanes kept;
        kept.keep(runs[i].sums);
        for (int lane = 0; lane < lanes; ++lane)
            end_slot_run(runs[i], kept, runs[i].slot[lane], lane, packets[i].low[lane], sums);
    }
}

// `blocks` has room for n_groups times tile_pixels times most_materials floats, `touched` for n_groups.
inline void material_tile(const NerpScene& scene, const Tile& tile, const float* codes, const NerpMaterials& materials,
                          float* blocks, bool* touched, float* image) {
    const TileSums sums{materials, blocks, touched};
    for (int group = 0; group < materials.n_groups; ++group) touched[group] = false;
    if (materials.n_slots > 1)
        material_tile_of<true>(scene, tile, codes, sums);
    else
        material_tile_of<false>(scene, tile, codes, sums);
    write_materials(scene, tile, sums, image);
}

}  // namespace NERP_ISA
}  // namespace nerp
