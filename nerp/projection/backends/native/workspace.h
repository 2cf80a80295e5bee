// Memory and threads of one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nerp {

// Asks for huge pages where memory has not been touched yet: rays visit a new page every few
// samples, and would otherwise wait for its first touch and for address translation.
inline void prefer_huge_pages(void* data, size_t bytes) {
#if defined(__linux__)
    constexpr uintptr_t page = uintptr_t(2) << 20;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
    (void)data, (void)bytes;
#endif
}

// Sets `n` floats to 0, a huge page at a time.
inline void clear(float* data, size_t n, int threads) {
    constexpr size_t block = size_t(1) << 19;
    const int64_t n_blocks = (n + block - 1) / block;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < n_blocks; ++i) {
        const size_t left = n - i * block;
        std::memset(data + i * block, 0, (left < block ? left : block) * sizeof(float));
    }
}

// A buffer freed with its scope.
class Workspace {
public:
    explicit Workspace(size_t n_floats) {
        constexpr size_t page = size_t(2) << 20;
        const size_t bytes = (n_floats * sizeof(float) + page - 1) / page * page;
        data_ = static_cast<float*>(std::aligned_alloc(page, bytes ? bytes : page));
        if (!data_) throw std::bad_alloc();
        prefer_huge_pages(data_, bytes);
    }
    ~Workspace() { std::free(data_); }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    float* data() { return data_; }

private:
    float* data_;
};

inline int thread_number() {
#if defined(_OPENMP)
    return omp_get_thread_num();
#else
    return 0;
#endif
}

}  // namespace nerp
