// Worker threads that run programs, lists of phases, together.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "phase.h"

namespace gristmill {

using Program = std::vector<Phase>;

// Threads claim items from a counter, so one that the operating system delays holds up only what it has claimed.
// Who waits spins briefly and then sleeps: the core is then free for the delayed one. Nobody waits for a thread that
// has claimed nothing: it may come back when the program is long over, so each run has counters of its own.
class Pool {
public:
    explicit Pool(int n_threads);   // the caller of run() is the first of them
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int n_threads() const { return n_threads_; }

    // Runs the phases in order and returns when the last is done. One caller at a time.
    void run(std::shared_ptr<const Program> program);

private:
    struct Run;
    class Buffer;

    void work();
    void run_phases(Run& run, Buffer& buffer);
    void run_phase(Run& run, size_t i, Scratch scratch);
    template <class Condition> void wait_until(Condition done);
    void announce();

    int n_threads_;
    std::unique_ptr<Buffer> own_buffer_;
    std::vector<std::thread> threads_;
    std::shared_ptr<Run> current_;          // guarded by mutex_
    std::atomic<uint64_t> epoch_{0};        // counts runs; changes after current_
    std::atomic<bool> stopping_{false};
    std::atomic<int> sleepers_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
};

}  // namespace gristmill
