#include "pool.h"

#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gristmill {

namespace {

constexpr auto kSpin = std::chrono::microseconds(60);

void pause_cpu() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

struct Counter {                            // of one phase
    int64_t n = 0;                          // items; set before the phase before it is finished
    std::atomic<int64_t> claimed{0};
    std::atomic<int64_t> done{0};
    std::atomic<bool> finished{false};
};

}  // namespace

struct Pool::Run {
    explicit Run(std::shared_ptr<const Program> p) : program(std::move(p)), counters(new Counter[program->size()]) {
        for (const Phase& phase : *program)
            if (phase.scratch_bytes > scratch_bytes) scratch_bytes = phase.scratch_bytes;
    }

    // Items are counted once, by the thread that finished the phase before: the data that they are counted from may be
    // gone when a late thread comes by.
    void open(size_t i) {
        for (; i < program->size(); ++i) {
            const Phase& phase = (*program)[i];
            counters[i].n = phase.count ? phase.count(phase.args) : phase.n_items;
            if (counters[i].n > 0) return;
            counters[i].finished = true;
        }
    }

    std::shared_ptr<const Program> program;
    std::unique_ptr<Counter[]> counters;
    size_t scratch_bytes = 0;
};

class Pool::Buffer {                        // grows, belongs to one thread, aligned to a cache line
public:
    Scratch get(size_t size) {
        if (size > size_) {
            memory_.reset(new uint8_t[size + 64]);
            size_ = size;
        }
        return {memory_.get() + (64 - reinterpret_cast<uintptr_t>(memory_.get()) % 64)};
    }

private:
    std::unique_ptr<uint8_t[]> memory_{new uint8_t[64]};
    size_t size_ = 0;
};

Pool::Pool(int n_threads) : n_threads_(n_threads < 1 ? 1 : n_threads), own_buffer_(new Buffer) {
    for (int i = 1; i < n_threads_; ++i) threads_.emplace_back([this] { work(); });
}

Pool::~Pool() {
    stopping_ = true;
    announce();
    for (auto& thread : threads_) thread.join();
}

void Pool::run(std::shared_ptr<const Program> program) {
    auto run = std::make_shared<Run>(std::move(program));
    run->open(0);
    if (n_threads_ > 1) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            current_ = run;
            epoch_.fetch_add(1);
        }
        if (sleepers_.load()) announce();
    }
    run_phases(*run, *own_buffer_);
}

void Pool::work() {
    Buffer buffer;
    uint64_t seen = 0;
    while (true) {
        wait_until([&] { return stopping_.load() || epoch_.load() != seen; });
        if (stopping_) return;
        std::shared_ptr<Run> run;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            run = current_;
            seen = epoch_.load();
        }
        run_phases(*run, buffer);
    }
}

void Pool::run_phases(Run& run, Buffer& buffer) {
    Scratch scratch = buffer.get(run.scratch_bytes);
    for (size_t i = 0; i < run.program->size(); ++i) run_phase(run, i, scratch);
}

void Pool::run_phase(Run& run, size_t i, Scratch scratch) {
    const Phase& phase = (*run.program)[i];
    Counter& counter = run.counters[i];
    const int64_t n = counter.n;
    bool begun = phase.begin == nullptr;
    int64_t mine = 0;
    while (counter.claimed.load(std::memory_order_relaxed) < n) {
        int64_t first = counter.claimed.fetch_add(phase.grain, std::memory_order_relaxed);
        if (first >= n) break;
        int64_t last = first + phase.grain < n ? first + phase.grain : n;
        if (!begun) phase.begin(phase.args, scratch);
        begun = true;
        phase.run(phase.args, scratch, first, last);
        mine += last - first;
    }
    if (mine && counter.done.fetch_add(mine) + mine == n) {
        run.open(i + 1);
        counter.finished = true;
        if (sleepers_.load()) announce();
    } else {
        wait_until([&] { return counter.finished.load(); });
    }
}

template <class Condition> void Pool::wait_until(Condition done) {
    if (done()) return;
    const auto start = std::chrono::steady_clock::now();
    do {
        for (int i = 0; i < 64; ++i) {
            if (done()) return;
            pause_cpu();
        }
    } while (std::chrono::steady_clock::now() - start < kSpin);
    sleepers_.fetch_add(1);                 // before the last look, so that whoever changes it sees us
    {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, done);
    }
    sleepers_.fetch_sub(1);
}

void Pool::announce() {
    { std::lock_guard<std::mutex> lock(mutex_); }
    changed_.notify_all();
}

}  // namespace gristmill
