// The packets of a tile on their way through the volume together.
#pragma once

#include "traverse.h"

namespace nerp {
namespace NERP_ISA {

constexpr int most_packets = tile_pixels / lanes;
constexpr int slabs_together = 8;

// All packets climb a few slabs before the first climbs on, so that what they read stays in the
// cache until the whole tile has read it.
class TileClimb {
public:
    TileClimb(const NerpScene& scene, const Tile& tile) {
        for_compact_patches(tile, [&](const Patch& patch) {
            packets_[count_] = climb(scene, tile.view, patch);
            patches_[count_++] = patch;
        });
    }

    int count() const { return count_; }
    const Patch& patch(int i) const { return patches_[i]; }
    Floats height(int i) const { return packets_[i].low; }

    // Calls advance(i, packet, n_slabs) until every packet i has climbed all its slabs.
    template <typename Advance>
    void run(Advance advance) {
        bool climbing = true;
        for (int slab = 0; climbing; slab += slabs_together) {
            climbing = false;
            for (int i = 0; i < count_; ++i) {
                const int left = packets_[i].n_slabs - slab;
                if (left <= 0) continue;
                advance(i, packets_[i], left < slabs_together ? left : slabs_together);
                climbing = true;
            }
        }
    }

private:
    Climb packets_[most_packets];
    Patch patches_[most_packets];
    int count_ = 0;
};

}  // namespace NERP_ISA
}  // namespace nerp
