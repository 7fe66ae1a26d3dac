// A team of threads inside one OpenMP region, and the barrier between the phases of a step.
#pragma once
#include <immintrin.h>

#include <atomic>
#include <cstdint>

namespace flywheel {

// Spins for some twenty microseconds, then sleeps: a step has over a hundred barriers, and on a busy machine a
// thread that spins for longer takes the processor from the one it waits for.
class Barrier {
public:
    void wait(int members) {
        if (members == 1) return;
        const std::uint32_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            round_.notify_all();
            return;
        }
        for (int spin = 0; spin < kSpins; ++spin) {
            if (round_.load(std::memory_order_acquire) != round) return;
            _mm_pause();
        }
        round_.wait(round, std::memory_order_acquire);
    }

private:
    static constexpr int kSpins = 2000;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<std::uint32_t> round_{0};
};

struct Range {
    int begin, end;
};

struct Team {
    int id, size;
    Barrier* barrier;

    void sync() const { barrier->wait(size); }
    Range share(int count) const {
        return {static_cast<int>(static_cast<std::int64_t>(count) * id / size),
                static_cast<int>(static_cast<std::int64_t>(count) * (id + 1) / size)};
    }
};

}  // namespace flywheel
