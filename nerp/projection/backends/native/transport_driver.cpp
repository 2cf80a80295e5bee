// Photon transport as nature does it: exact and slow, to judge faster ways by.
#include <new>

#include "radiation.h"

namespace nerp {

constexpr int most_rows = 64;  // materials
constexpr double onwards_mm = 1e-6;  // into the next block

enum Kind { primary, single, multiple, n_kinds };

class Transport {
public:
    Transport(const NerpMatter& matter, const NerpRadiation& radiation, const NerpStrips* strips)
        : m_(matter), r_(radiation), strips_(strips), plane_(radiation), inverse_(directions()) {}

    void follow(uint64_t seed, int64_t index, Raster& raster) const {
        Random random(seed, index);
        Photon photon = emit(random);
        for (int order = 0;; ++order) {
            const double reach = plane_.distance(photon.at, photon.along);
            const Energy energy(photon.kev, m_.n_energies);
            const float* const density = fly(photon, reach, energy, random);
            if (!density) return detect(photon, energy, std::min(order, 2), raster);
            if (!scatter(photon, density, energy, random)) return;
        }
    }

private:
    // Columns of the matrix that turns directions in mm into voxels.
    struct Index {
        Vector rows[3];
        double offset[3];
    };

    Index directions() const {
        Index made;
        for (int i = 0; i < 3; ++i) made.rows[i] = vector(m_.to_index + 4 * i), made.offset[i] = m_.to_index[4 * i + 3];
        return made;
    }

    Photon emit(Random& random) const {
        Photon photon{};
        for (int i = 0; i < 10000; ++i) {
            const double u = random.next(), v = random.next();
            const Vector point = field_point(r_, plane_, u, v);
            photon = towards(r_, point, 1e4);
            if (random.next() < openness(r_, plane_, point)) break;
        }
        photon.kev = r_.line_kev[draw_line(r_, random.next())];
        return photon;
    }

    // From where to where along a photon's way the volume lies.
    bool cut(const Photon& photon, double& enter, double& leave) const {
        for (int i = 0; i < 3; ++i) {
            const double at = dot(inverse_.rows[i], photon.at) + inverse_.offset[i] + 0.5;
            const double along = dot(inverse_.rows[i], photon.along);
            if (along == 0) {
                if (at < 0 || at >= m_.shape[i]) return false;
                continue;
            }
            const double a = -at / along, b = (m_.shape[i] - at) / along;
            enter = std::max(enter, std::min(a, b)), leave = std::min(leave, std::max(a, b));
        }
        return enter < leave;
    }

    const float* voxel(Vector at) const {
        size_t place = 0;
        for (int i = 0; i < 3; ++i) {
            const double index = std::floor(dot(inverse_.rows[i], at) + inverse_.offset[i] + 0.5);
            place = place * m_.shape[i] + size_t(std::min(std::max(index, 0.0), m_.shape[i] - 1.0));
        }
        return m_.densities + place * m_.n_materials;
    }

    // Moves a photon to where it meets an atom, whose voxel is returned; null where it meets none.
    // Source: Woodcock et al. 1965, rejection against the largest attenuation of a block of voxels.
    const float* fly(Photon& photon, double reach, const Energy& energy, Random& random) const {
        double way = 0, end = reach, mu[most_rows];
        if (!cut(photon, way, end)) return nullptr;
        for (int m = 0; m < m_.n_materials; ++m) mu[m] = energy.in(m_.total + size_t(m) * m_.n_energies);
        while (way < end) {
            double leave = end;
            const float* const largest = block(photon, way, leave);
            const double most = attenuation_of(largest, mu);
            while (most > 0 && (way -= std::log1p(-random.next()) / most) < leave) {
                const Vector at = photon.at + photon.along * way;
                const float* const density = voxel(at);
                if (random.next() * most >= attenuation_of(density, mu)) continue;
                photon.at = at;
                return density;
            }
            way = leave + onwards_mm;
        }
        return nullptr;
    }

    double attenuation_of(const float* density, const double* mu) const {
        double sum = 0;
        for (int m = 0; m < m_.n_materials; ++m) sum += density[m] * mu[m];
        return sum;
    }

    // The largest densities of the block of voxels that a photon is in, and how far it stays in it.
    const float* block(const Photon& photon, double way, double& leave) const {
        size_t place = 0;
        for (int i = 0; i < 3; ++i) {
            const double start = dot(inverse_.rows[i], photon.at) + inverse_.offset[i] + 0.5;
            const double speed = dot(inverse_.rows[i], photon.along), here = start + speed * way;
            const int n = (m_.shape[i] + m_.block - 1) / m_.block;
            const int index = here <= 0 ? 0 : std::min(int(here) / m_.block, n - 1);
            place = place * n + index;
            if (speed != 0) leave = std::min(leave, std::max(way, ((index + (speed > 0)) * m_.block - start) / speed));
        }
        return m_.largest + place * m_.n_materials;
    }

    // False where the photon is absorbed.
    bool scatter(Photon& photon, const float* density, const Energy& energy, Random& random) const {
        const Meeting how = meet(m_, density, energy, random.next() * attenuation(m_, density, energy));
        if (how.material < 0) return false;
        const double cosine = draw_cosine(m_, how, photon.kev, random);
        photon.along = turned(photon.along, cosine, 2 * pi * random.next());
        if (!how.is_coherent) photon.kev *= energy_kept(photon.kev, cosine);
        return photon.kev > lowest_kev;
    }

    void detect(const Photon& photon, const Energy& energy, int kind, Raster& raster) const {
        const double reach = plane_.distance(photon.at, photon.along);
        if (!(reach >= 0 && reach < HUGE_VAL)) return;
        const Vector point = photon.at + photon.along * reach;
        const int64_t pixel = raster.pixel(plane_, point);
        if (pixel < 0) return;
        const double aside = dot(point - plane_.centre, plane_.right);
        raster.add(kind, pixel, strips_ ? through(*strips_, plane_, photon.along, aside, energy) : 1, energy);
    }

    const NerpMatter& m_;
    const NerpRadiation& r_;
    const NerpStrips* strips_;
    Plane plane_;
    Index inverse_;
};

}  // namespace nerp

using namespace nerp;

// Adds primary, single and multiple scatter to `tally->sums`; `strips` may be null. 1 when memory ran out.
NERP_API int nerp_transport(const NerpMatter* matter, const NerpRadiation* radiation, const NerpStrips* strips,
                            const NerpTally* tally) {
    try {
        const Transport transport(*matter, *radiation, strips);
        const size_t n_sums = size_t(n_kinds) * 3 * radiation->rows * radiation->columns;
        for_parts(*tally, n_sums, tally->sums, [&](int64_t first, int64_t last, double* sums) {
            Raster raster(*radiation, sums);
            for (int64_t index = first; index < last; ++index) transport.follow(tally->seed, index, raster);
        });
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

// Writes `n` cosines of the scattering angle of photons of one energy in one material.
NERP_API int nerp_scatter_angles(const NerpMatter* matter, int material, int is_coherent, double kev,
                                 const NerpTally* tally, double* cosines) {
    for (int64_t i = 0; i < tally->n_photons; ++i) {
        Random random(tally->seed, i);
        cosines[i] = draw_cosine(*matter, {material, is_coherent != 0}, kev, random);
    }
    return 0;
}
