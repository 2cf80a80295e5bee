// What crosses the C interface: the rays, the grids and the images of one call, as plain structs.
//
// Everything is dense and row-major. Positions are in voxel-index space: centres at integers, faces
// half a voxel outside the outer centres, axes in memory order (d, h, w).
#pragma once

#include <cstdint>

#define NERP_API extern "C" __attribute__((visibility("default")))

// Counts up whenever anything here, or the signature of an exported function, changes; `library.py`
// refuses a build of another number.
#define NERP_ABI 8

extern "C" {

// Rays of a batch of views; the views of one volume are contiguous, `n_views` is a multiple of `n_volumes`.
struct NerpScene {
    int32_t shape[3];         // voxels along d, h, w
    int32_t n_volumes;        // volumes in the batch
    int32_t n_views;          // images in the batch
    int32_t rows, columns;    // pixels of an image; one ray each
    int32_t threads;          // threads to use, at least 1
    const double* start;      // (n_views, rows * columns, 3), where a ray enters the volume
    const double* direction;  // (n_views, rows * columns, 3), voxels gained per mm
    const double* length_mm;  // (n_views, rows * columns), path inside the volume; 0 for a miss
};

// Cameras whose rays are to be cast through a grid; vectors are (n_views, 3), mm.
struct NerpCamera {
    int32_t shape[3];                               // voxels along d, h, w
    int32_t n_views, rows, columns, threads;
    double to_index[12];                            // the upper three rows of the matrix from mm to voxels
    const double *source, *centre, *right, *down;   // right, down: from one column, one row to the next
};

// Gradients with respect to the rays, laid out as they are; null when not wanted.
struct NerpRayGradient {
    double* start;
    double* direction;
    double* length_mm;
};

struct NerpMarch {
    int32_t n_samples;
    int32_t per_sample;    // 1: opacity is the alpha of a sample; 0: an extinction per mm
    const float* matter;   // (n_volumes, D, H, W)
    const float* opacity;  // (n_volumes, D, H, W)
};

struct NerpMarchGradient {
    const float* image;       // (n_views, rows, columns), what the forward call wrote
    const float* grad_image;  // (n_views, rows, columns)
    float* grad_matter;       // (n_volumes, D, H, W), or null
    float* grad_opacity;      // (n_volumes, D, H, W), null together with grad_matter
    NerpRayGradient rays;
};

// Label v, rounded to the nearest integer, counts for channel table[v - lowest]; -1 for none.
struct NerpLabels {
    int32_t lowest, table_size, n_channels;
    const int32_t* table;
};

// What a voxel's code means in each slot, and the group of images that each slot counts for. Areal
// densities are the path in mm times `densities`, which are (n_slots, material_knots, most_materials).
struct NerpMaterials {
    int32_t n_slots, n_groups, n_materials;
    const int32_t* group_of;  // (n_slots), each below n_groups
    const float* densities;
};

// What photons go through; tables by energy have a row per material and a step of 0.5 keV from 0 on,
// tables by momentum transfer x one of 0.02 in the square root of x in 1/angstrom.
struct NerpMatter {
    int32_t shape[3];
    int32_t n_materials, n_energies, n_transfers;
    double to_index[12];             // the upper three rows of the matrix from mm to voxels
    const float* densities;          // (D, H, W, n_materials), g/cm3
    const double* total;             // (n_materials, n_energies), 1/mm at 1 g/cm3; as the next two
    const double* coherent;
    const double* incoherent;
    const double* coherent_norm;     // (n_materials, n_energies), integral over all directions of F2 (1 + cos2) / 2
    const double* incoherent_norm;   // the same of Klein and Nishina's factor times `binding`
    const double* form_cumulative;   // (n_materials, n_transfers), integral of F2 over x squared
    const double* binding;           // (n_materials, n_transfers), S over its largest, 0 to 1
    const float* largest;            // (blocks along d, h, w, n_materials), of the densities; null for the fast way
    int32_t block;                   // voxels along each side of a block
};

// A source, and the plane that detects; all in mm.
struct NerpRadiation {
    double source[3];       // of a parallel beam: its direction, of length 1
    double centre[3];       // of the detector
    double right[3], down[3];
    double size[2];         // height and width of the detector
    double field[4];        // that the beam is collimated to: from and to along down, from and to along right
    int32_t parallel, rows, columns, n_lines;
    const double* line_kev;         // (n_lines)
    const double* line_cumulative;  // (n_lines), rising to 1: which line a photon is drawn from
    const double* line_weight;      // (n_lines), what such a photon counts for
    const double* response;         // (n_energies), what the detector makes of a photon
};

// Lead strips along `down`, focused at a line in front of the detector's centre.
struct NerpStrips {
    double pitch_mm, lead_mm, height_mm, focus_mm;  // focus 0: parallel strips
    const double* lead;        // (n_energies), 1/mm
    const double* interspace;  // (n_energies), 1/mm
    const double* glow;        // (n_energies), what leaves for each photon that does not get through
};

// How many photons, and where what is counted goes: counts, energy and response of each kind, kinds first.
struct NerpTally {
    int64_t n_photons;
    uint64_t seed;
    double reference_kev;        // what is ahead of photons is looked up at
    const double* relative;      // (n_energies), attenuation relative to that at this energy
    int32_t threads, n_groups;
    double* sums;          // (kinds, 3, rows, columns)
    const int32_t* groups; // (D, H, W), 0 to n_groups - 1, or -1 for none; null without groups
    double* derivatives;   // (n_groups, rows, columns)
};

// Blocks of voxels; at the far rim they are cut off.
struct NerpBlocks {
    int32_t shape[3];   // voxels along d, h, w
    int32_t factor[3];  // voxels of a block along each
    int32_t threads;
};

// Areal densities of materials, and how a beam of a few energies passes them; `scales` weigh the groups anew
// for each variant of the images.
struct NerpTransmission {
    int32_t n_views, n_variants, n_groups, n_materials, n_energies, n_responses, threads;
    int64_t n_pixels;      // of an image
    const float* areal;    // (n_views, n_groups, n_materials, n_pixels), g/cm2
    const float* scales;   // (n_variants, n_groups)
    const float* mu;       // (n_energies, n_materials), cm2/g
    const float* weights;  // (n_energies, n_responses)
    float* image;          // (n_views, n_variants, n_responses, n_pixels)
};

}  // extern "C"

namespace nerp {

// Pixels that are worked on together, and the largest numbers of materials and responses.
constexpr int pixels_together = 128, transmitting_materials = 32, most_responses = 4;

constexpr int material_knots = 8, most_materials = 8, codes_per_slot = 16;

}  // namespace nerp
