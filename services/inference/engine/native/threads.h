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

// Who has taken which of a member's pieces of work: it takes them from the front, the others from the back.
class Claims {
public:
    void clear() { taken_.store(0, std::memory_order_relaxed); }
    int from_front(Range range) { return take(range, 1); }
    int from_back(Range range) { return take(range, kBack); }

private:
    static constexpr std::uint64_t kBack = std::uint64_t{1} << 32;

    // The piece, or -1 when none is left.
    int take(Range range, std::uint64_t one) {
        std::uint64_t seen = taken_.load(std::memory_order_relaxed);
        while (true) {
            const int front = static_cast<int>(seen % kBack), back = static_cast<int>(seen / kBack);
            if (range.begin + front + back >= range.end) return -1;
            if (taken_.compare_exchange_weak(seen, seen + one, std::memory_order_relaxed))
                return one == 1 ? range.begin + front : range.end - 1 - back;
        }
    }

    alignas(64) std::atomic<std::uint64_t> taken_{0};
};

struct Team {
    int id, size;
    Barrier* barrier;
    Claims* claims;  // two for each member, used in turns
    int turn = 0;

    void sync() const { barrier->wait(size); }
    Range share(int count) const { return share_of(id, count); }
    Range share_of(int member, int count) const {
        return {static_cast<int>(static_cast<std::int64_t>(count) * member / size),
                static_cast<int>(static_cast<std::int64_t>(count) * (member + 1) / size)};
    }

    // Calls work(piece) for the pieces of this member, and then, with `help`, for those that others have not come to:
    // they may be held up by a caller's threads. The team has to sync before it shares out again.
    template <class Work>
    void share_out(int count, bool help, Work&& work) {
        Claims* const now = claims + turn % 2 * size;
        turn++;
        claims[turn % 2 * size + id].clear();
        for (int step = 0; step < (help ? size : 1); ++step) {
            const int member = (id + step) % size;
            const Range range = share_of(member, count);
            const auto next = [&] { return step == 0 ? now[member].from_front(range) : now[member].from_back(range); };
            for (int piece = next(); piece >= 0; piece = next()) work(piece);
        }
    }
};

}  // namespace flywheel
