// Scatter by few photons that are made to count: they are forced to meet something, sent towards the detector,
// and score on each of their ways what would arrive of them.
#include <new>

#include "radiation.h"
#include "stroll.h"

namespace nerp {

typedef float Four __attribute__((vector_size(16)));

constexpr int most_orders = 60;
constexpr double towards_detector = 0.25; // part of the photons that are sent to a random point of it
constexpr double depth_worth = 0.8;       // how fast, per optical depth, photons count for more on their way to it
constexpr int most_copies = 8, most_waiting = 64, n_pilots = 256;

// Where a depth is drawn by an exponential of another rate, cut off at the end of the way.
// Source: exponential transform, Lux & Koblinger 1991, chapter 5.
struct Depth {
    double at, weight;
    Depth(double rate, double whole, double u) {
        const double norm = rate * whole > 1e-6 ? -std::expm1(-rate * whole) / rate : whole;
        at = rate * whole > 1e-6 ? -std::log1p(-u * rate * norm) / rate : u * whole;
        at = std::min(at, whole);
        weight = norm * std::exp(-(1 - rate) * at);
    }
};

// The fractional parts of multiples of these fill four dimensions evenly.
// Source: Roberts 2018, generalised golden ratios: powers of 1 / 1.16730397826142.
inline double evenly(int64_t index, int dimension) {
    constexpr double steps[4] = {0.856674883854503, 0.733891856627126, 0.628706720813881, 0.538597256970752};
    const double at = 0.5 + steps[dimension] * double(index + 1);
    return at - std::floor(at);
}

class FastScatter {
public:
    FastScatter(const NerpMatter& matter, const NerpRadiation& radiation, const NerpStrips* strips,
                const NerpTally& tally)
        : m_(matter), r_(radiation), strips_(strips), t_(tally), plane_(radiation), frame_(matter) {
        fill_fours();
        look_ahead();
        usual_ = usual();
    }

    size_t sums() const { return size_t(6 + t_.n_groups) * r_.rows * r_.columns; }

    void follow(int64_t first, int64_t last, double* sums) const {
        Course course(*this, sums);
        for (int64_t index = first; index < last; ++index) course.run(index);
    }

private:
    struct Waiting {
        Photon photon;
        double weight;
        int voxel, order;
        std::vector<double> score;
    };

    // One photon and its copies at a time, with the room that they need.
    class Course {
    public:
        Course(const FastScatter& all, double* sums)
            : all_(all), m_(all.m_), r_(all.r_), plane_(all.plane_), stroll_(all.frame_), raster_(all.r_, sums),
              derivatives_(sums + size_t(6) * r_.rows * r_.columns), mu_((m_.n_materials + 3) / 4), score_(all.t_.n_groups),
              passed_(all.t_.n_groups), waiting_(most_waiting) {}

        void run(int64_t index) {
            Random random(all_.t_.seed, index);
            if (!start(index)) return;
            const double worth = weight_ * importance();
            target_ = std::sqrt(worth * all_.usual_);
            for (branch(random); n_waiting_ > 0;) {
                take();
                while (meet_once(random) && branch_off(random)) {}
            }
        }

        // What the photon of an index counts for where it first meets something; 0 of one that meets nothing.
        double first_worth(int64_t index) { return start(index) ? weight_ * importance() : 0; }

    private:
        static double wrapped(double u) { return u - std::floor(u); }
        double random_shift(int dimension) const { return Random(all_.t_.seed, -1 - dimension).next(); }
        const float* densities(int voxel) const { return m_.densities + size_t(voxel) * m_.n_materials; }

        void walk(const Photon& photon) {
            const Energy energy(photon.kev, m_.n_energies);
            for (int m = 0; m < m_.n_materials; ++m)
                mu_[m / 4][m % 4] = float(energy.in(m_.total + size_t(m) * m_.n_energies));
            const double reach = plane_.distance(photon.at, photon.along);
            const Four* const fours = all_.fours_.data();
            const size_t n = mu_.size();
            stroll_.walk(photon.at, photon.along, reach, [&](int voxel) {
                const Four* const density = fours + voxel * n;
                Four sum = density[0] * mu_[0];
                for (size_t i = 1; i < n; ++i) sum += density[i] * mu_[i];
                return double((sum[0] + sum[1]) + (sum[2] + sum[3]));
            });
        }

        // Sends a photon out, up to where it first meets something.
        bool start(int64_t index) {
            double u[4];
            for (int i = 0; i < 4; ++i) u[i] = wrapped(evenly(index, i) + random_shift(i));
            const Vector point = field_point(r_, plane_, u[0], u[1]);
            photon_ = towards(r_, point, 1e4);
            const int line = draw_line(r_, u[2]);
            photon_.kev = r_.line_kev[line];
            weight_ = r_.line_weight[line] * openness(r_, plane_, point);
            order_ = 0;
            std::fill(score_.begin(), score_.end(), 0.0);
            walk(photon_);
            return fly(photon_, 1 - depth_worth, u[3]);
        }

        // One meeting, and the way to the next; false where the photon's course ends.
        bool meet_once(Random& random) {
            if (++order_ > most_orders || !scatter(photon_, random)) return false;
            walk(photon_);
            detect(photon_, order_ > 1);
            const double rate = 1 - depth_worth * dot(photon_.along, plane_.normal);
            return fly(photon_, rate, random.next());
        }

        // What a photon of weight 1 is expected to bring here, to some scale: more energy, and less before the detector.
        double importance() const {
            const Energy energy(photon_.kev, m_.n_energies);
            return photon_.kev * std::exp(-depth_worth * all_.depths_[voxel_] * energy.in(all_.t_.relative));
        }

        // Photons that count for little end by chance, those that count for much become several.
        int copies(Random& random) {
            const double ratio = weight_ * importance() / target_;
            const int room = std::min(most_copies, most_waiting - n_waiting_);
            const int n = ratio < 1 ? random.next() < ratio : std::min(int(ratio + random.next()), room);
            if (n > 0) weight_ /= ratio < 1 ? ratio : n;
            return n;
        }

        void branch(Random& random) {
            for (int n = copies(random); n > 0; --n) put();
        }

        bool branch_off(Random& random) {
            const int n = copies(random);
            for (int i = 1; i < n; ++i) put();
            return n > 0;
        }

        // Moves on to the next meeting; false where there is none.
        bool fly(Photon& photon, double rate, double u) {
            const double whole = stroll_.depth();
            if (!(whole > 1e-9)) return false;
            const Depth depth(rate, whole, u);
            const int step = stroll_.reached(depth.at);
            photon.at = photon.at + photon.along * stroll_.way(step, depth.at);
            voxel_ = stroll_.voxel(step);
            remember(step, depth.at);
            weight_ *= depth.weight;
            return true;
        }

        void put() {
            Waiting& to = waiting_[n_waiting_++];
            to.photon = photon_, to.weight = weight_, to.voxel = voxel_, to.order = order_, to.score = score_;
        }

        void take() {
            const Waiting& from = waiting_[--n_waiting_];
            photon_ = from.photon, weight_ = from.weight, voxel_ = from.voxel, order_ = from.order, score_ = from.score;
        }

        // Chooses what is met, and a direction.
        bool scatter(Photon& photon, Random& random) {
            const Energy energy(photon.kev, m_.n_energies);
            const float* const density = densities(voxel_);
            double scattered = 0, all = 0;
            for (int m = 0; m < m_.n_materials; ++m) {
                const size_t row = size_t(m) * m_.n_energies;
                scattered += density[m] * (energy.in(m_.incoherent + row) + energy.in(m_.coherent + row));
                all += density[m] * energy.in(m_.total + row);
            }
            const Meeting how = meet(m_, density, energy, random.next() * scattered);
            if (how.material < 0) return false;
            const double cosine = aim(photon, how, energy, random);
            if (!how.is_coherent) photon.kev *= energy_kept(photon.kev, cosine);
            weight_ *= scattered / all;
            return photon.kev > lowest_kev && weight_ > 0;
        }

        // A direction by either of two ways to draw it, weighed by both.
        // Source: multiple importance sampling, balance heuristic, Veach 1997, eq. 9.8.
        double aim(Photon& photon, Meeting how, const Energy& energy, Random& random) {
            const Vector before = photon.along;
            if (random.next() < towards_detector) {
                const double u = random.next(), v = random.next();
                const Vector point = plane_.centre + plane_.down * ((u - 0.5) * r_.size[0]) +
                                     plane_.right * ((v - 0.5) * r_.size[1]);
                photon.along = unit(point - photon.at);
            } else {
                const double cosine = draw_cosine(m_, how, photon.kev, random);
                photon.along = turned(before, cosine, 2 * pi * random.next());
            }
            const double cosine = std::min(1.0, std::max(-1.0, dot(before, photon.along)));
            const double nature = how.is_coherent ? coherent_density(m_, how.material, energy, cosine)
                                                  : incoherent_density(m_, how.material, energy, cosine);
            weight_ *= nature / ((1 - towards_detector) * nature + towards_detector * detector_density(photon));
            return cosine;
        }

        // 1/sr of directions to random points of the detector.
        double detector_density(const Photon& photon) const {
            const double reach = plane_.distance(photon.at, photon.along);
            if (!(reach > 0 && reach < HUGE_VAL)) return 0;
            if (raster_.pixel(plane_, photon.at + photon.along * reach) < 0) return 0;
            return reach * reach / (r_.size[0] * r_.size[1] * dot(photon.along, plane_.normal));
        }

        void detect(const Photon& photon, int kind) {
            const double reach = plane_.distance(photon.at, photon.along);
            if (!(reach > 0 && reach < HUGE_VAL)) return;
            const Vector point = photon.at + photon.along * reach;
            const int64_t pixel = raster_.pixel(plane_, point);
            if (pixel < 0) return;
            const Energy energy(photon.kev, m_.n_energies);
            double weight = weight_ * std::exp(-stroll_.depth());
            const double aside = dot(point - plane_.centre, plane_.right);
            if (all_.strips_) weight *= through(*all_.strips_, plane_, photon.along, aside, energy);
            raster_.add(kind, pixel, weight, energy);
            if (all_.t_.n_groups) differentiate(pixel, weight * energy.in(r_.response));
        }

        // Depth in each group up to the end of a step, or to a depth within it.
        void pass(int last_step, double end) {
            std::fill(passed_.begin(), passed_.end(), 0.0);
            double before = 0;
            for (int step = 0; step <= last_step; ++step) {
                const double behind = step == last_step ? end : stroll_.depth_behind(step);
                const int group = all_.t_.groups[stroll_.voxel(step)];
                if (group >= 0) passed_[group] += behind - before;
                before = behind;
            }
        }

        // Derivative of the logarithm of a photon's probability: meetings less optical depth.
        // Source: score function, e.g. Rubinstein & Shapiro 1993, of a Poisson process.
        void remember(int step, double depth) {
            if (!all_.t_.n_groups) return;
            pass(step, depth);
            for (int k = 0; k < all_.t_.n_groups; ++k) score_[k] -= passed_[k];
            const int group = all_.t_.groups[voxel_];
            if (group >= 0) score_[group] += 1;
        }

        void differentiate(int64_t pixel, double signal) {
            pass(stroll_.steps() - 1, stroll_.depth());
            const size_t size = size_t(r_.rows) * r_.columns;
            for (int k = 0; k < all_.t_.n_groups; ++k)
                derivatives_[k * size + pixel] += signal * (score_[k] - passed_[k]);
        }

        const FastScatter& all_;
        const NerpMatter& m_;
        const NerpRadiation& r_;
        const Plane& plane_;
        Stroll stroll_;
        Raster raster_;
        double* derivatives_;
        std::vector<Four> mu_;
        std::vector<double> score_, passed_;
        Photon photon_{};
        double weight_ = 0, target_ = 0;
        int voxel_ = 0, order_ = 0, n_waiting_ = 0;
        std::vector<Waiting> waiting_;
    };

    // Densities with their materials filled up to a multiple of four.
    void fill_fours() {
        const size_t n_voxels = size_t(m_.shape[0]) * m_.shape[1] * m_.shape[2], n = (m_.n_materials + 3) / 4;
        fours_.assign(n_voxels * n, Four{});
        for (size_t voxel = 0; voxel < n_voxels; ++voxel)
            for (int m = 0; m < m_.n_materials; ++m)
                fours_[voxel * n + m / 4][m % 4] = m_.densities[voxel * m_.n_materials + m];
    }

    // Optical depth at one energy from the middle of each voxel straight to the detector's plane.
    void look_ahead() {
        const Energy energy(t_.reference_kev, m_.n_energies);
        depths_.resize(size_t(m_.shape[0]) * m_.shape[1] * m_.shape[2]);
#pragma omp parallel for num_threads(t_.threads) if (t_.threads > 1) schedule(dynamic, 1)
        for (int d = 0; d < m_.shape[0]; ++d) {
            Stroll stroll(frame_);
            for (int h = 0; h < m_.shape[1]; ++h)
                for (int w = 0; w < m_.shape[2]; ++w) {
                    const Vector at = frame_.middle(d, h, w);
                    stroll.walk(at, plane_.normal, plane_.distance(at, plane_.normal), [&](int voxel) {
                        return attenuation(m_, m_.densities + size_t(voxel) * m_.n_materials, energy);
                    });
                    depths_[(size_t(d) * m_.shape[1] + h) * m_.shape[2] + w] = float(stroll.depth());
                }
        }
    }

    // Mean worth of the first photons.
    double usual() const {
        std::vector<double> sums(this->sums());
        Course course(*this, sums.data());
        double sum = 0;
        for (int index = 0; index < n_pilots; ++index) sum += course.first_worth(index);
        return sum / n_pilots;
    }

    const NerpMatter& m_;
    const NerpRadiation& r_;
    const NerpStrips* strips_;
    const NerpTally& t_;
    Plane plane_;
    Frame frame_;
    std::vector<Four> fours_;
    std::vector<float> depths_;
    double usual_ = 0;
};

}  // namespace nerp

using namespace nerp;

// Adds single and multiple scatter to `tally->sums` and, where there are groups, the derivatives of the response
// with respect to the logarithm of each group's density to `tally->derivatives`. 1 when memory ran out.
NERP_API int nerp_fast_scatter(const NerpMatter* matter, const NerpRadiation* radiation, const NerpStrips* strips,
                               const NerpTally* tally) {
    try {
        const FastScatter scatter(*matter, *radiation, strips, *tally);
        const size_t size = size_t(radiation->rows) * radiation->columns;
        std::vector<double> sums(scatter.sums(), 0.0);
        for_parts(*tally, sums.size(), sums.data(),
                  [&](int64_t first, int64_t last, double* own) { scatter.follow(first, last, own); });
        for (size_t i = 0; i < 6 * size; ++i) tally->sums[i] += sums[i];
        for (size_t i = 0; i < tally->n_groups * size; ++i) tally->derivatives[i] += sums[6 * size + i];
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}
