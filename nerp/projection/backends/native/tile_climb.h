// The packets of a tile on their way through the volume together.
#pragma once

#include "traverse.h"

namespace nerp {
namespace NERP_ISA {

constexpr int most_packets = tile_pixels / lanes;
constexpr int steps_together = 12;

// All packets climb a few voxels before the first climbs on, so that what they read stays in the
// cache until the whole tile has read it.
class TileClimb {
public:
    TileClimb(const NerpScene& scene, const Tile& tile) {
        for_long_patches(tile, [&](const Patch& patch) {
            packets_[count_] = climb(scene, tile.view, patch);
            patches_[count_++] = patch;
        });
    }

    int count() const { return count_; }
    const Patch& patch(int i) const { return patches_[i]; }
    const Climb& operator[](int i) const { return packets_[i]; }

    // Calls advance(i, packet, n_steps) until every packet i has climbed to its end.
    template <typename Advance>
    void run(Advance advance) {
        bool climbing = true;
        for (int step = 0; climbing; step += steps_together) {
            climbing = false;
            for (int i = 0; i < count_; ++i) {
                const int left = packets_[i].n_steps - step;
                if (left <= 0) continue;
                advance(i, packets_[i], left < steps_together ? left : steps_together);
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
