// A team of threads inside one OpenMP region, and the barrier between the phases of a step.
#pragma once
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <vector>

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

// The processors of this process. A team that has one member for each of them keeps every member on its own: a
// scheduler that puts two on one processor, while the others serve a caller for a moment, halves the speed of a step.
class Processors {
public:
    Processors() {
        cpu_set_t allowed;
        if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
            if (CPU_ISSET(cpu, &allowed)) numbers_.push_back(cpu);
    }

    void keep(int member, int members) const {
        static thread_local int kept = -1;
        if (members < 2 || members != static_cast<int>(numbers_.size()) || kept == numbers_[member]) return;
        cpu_set_t own;
        CPU_ZERO(&own);
        CPU_SET(numbers_[member], &own);
        if (pthread_setaffinity_np(pthread_self(), sizeof(own), &own) == 0) kept = numbers_[member];
    }

private:
    std::vector<int> numbers_;
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
