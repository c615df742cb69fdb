// A fixed set of worker threads for loops over independent parts.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "promiseg/core/tensor_view.hpp"

namespace promiseg {

/// [begin, end)
struct IndexRange {
  Index begin = 0;
  Index end = 0;

  constexpr Index size() const { return end - begin; }
};

/// The part `index` of `parts`, as equal as can be, of [0, count).
constexpr IndexRange share_of(Index count, Index index, Index parts) {
  return {count * index / parts, count * (index + 1) / parts};
}

/// Runs loop bodies on a fixed number of threads, the calling one included. Parts are handed out
/// one by one, so a slow thread does not hold up the others; which thread runs a part is not
/// determined, so a body must write to places that depend on the part alone. Not reentrant: a body
/// must not start another loop, and one pool serves one caller at a time. A thread that has nothing
/// to do looks out for more for 50 microseconds before it sleeps, as loops follow one another
/// closely; where other programs' threads want the processor, it yields to them.
class ThreadPool {
 public:
  /// `threads` in all; 0 takes as many as the machine has processors. A pool with `works` off
  /// runs no loop body. Throws `unsupported` if the system does not let so many start.
  explicit ThreadPool(int threads = 0, bool works = true)
      : size_(threads > 0 ? threads : default_size()), works_(works) {
    if (!works_) return;
    try {
      workers_.reserve(static_cast<std::size_t>(size_ - 1));
      for (int worker = 1; worker < size_; ++worker) {
        workers_.emplace_back([this, worker] { work(worker); });
      }
    } catch (const std::system_error& error) {
      stop();
      fail(ErrorCode::unsupported, "cannot run on ", size_, " threads: the system allowed ",
           workers_.size() + 1, " (", error.what(), "); ask for fewer");
    } catch (...) {
      stop();
      throw;
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() { stop(); }

  int size() const { return size_; }

  /// Calls `body(part, thread)` for every part in `[0, parts)`, `thread` in `[0, size())`, and
  /// returns when all are done. The first exception of a body is thrown again here.
  template <class Body>
  void parallel_for(Index parts, const Body& body) {
    if (!works_) return;
    if (size_ == 1 || parts <= 1) {
      for (Index part = 0; part < parts; ++part) body(part, 0);
      return;
    }
    {
      const std::scoped_lock lock(mutex_);
      body_ = &body;
      invoke_ = [](const void* target, Index part, int thread) {
        (*static_cast<const Body*>(target))(part, thread);
      };
      parts_ = parts;
      next_.store(0, std::memory_order_relaxed);
      running_.store(size_ - 1, std::memory_order_relaxed);
      error_ = nullptr;
      generation_.fetch_add(1, std::memory_order_release);
    }
    start_.notify_all();
    run_parts(0);
    const auto done = [this] { return running_.load(std::memory_order_acquire) == 0; };
    if (!comes_soon(done)) {
      std::unique_lock lock(mutex_);
      done_.wait(lock, done);
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static int default_size() {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }

  static void pause() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }

  /// Looks out for `ready` for a while, if every thread can have a processor.
  template <class Ready>
  bool comes_soon(const Ready& ready) const {
    constexpr std::chrono::microseconds kWhile(50);
    constexpr int kLooksAtOnce = 32;
    if (size_ > processors_) return ready();
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < kLooksAtOnce; ++i) {
        if (ready()) return true;
        pause();
      }
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() - start < kWhile);
    return ready();
  }

  /// Ends the threads that were started.
  void stop() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_.store(true, std::memory_order_release);
    }
    start_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void work(int thread) {
    std::size_t seen = 0;
    const auto called = [&] {
      return stopping_.load(std::memory_order_acquire) ||
             generation_.load(std::memory_order_acquire) != seen;
    };
    while (true) {
      if (!comes_soon(called)) {
        std::unique_lock lock(mutex_);
        start_.wait(lock, called);
      }
      if (stopping_.load(std::memory_order_acquire)) return;
      ++seen;  // no loop begins before all threads are done with the one before
      run_parts(thread);
      if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        const std::scoped_lock lock(mutex_);  // or the caller could miss it on its way to sleep
        done_.notify_one();
      }
    }
  }

  void run_parts(int thread) {
    try {
      for (Index part = next_.fetch_add(1); part < parts_; part = next_.fetch_add(1)) {
        invoke_(body_, part, thread);
      }
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!error_) error_ = std::current_exception();
      next_.store(parts_);
    }
  }

  int size_;
  bool works_;
  int processors_ = default_size();
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable done_;
  std::atomic<std::size_t> generation_{0};
  std::atomic<int> running_{0};
  std::atomic<bool> stopping_{false};
  std::exception_ptr error_;

  const void* body_ = nullptr;
  void (*invoke_)(const void*, Index, int) = nullptr;
  Index parts_ = 0;
  std::atomic<Index> next_{0};
};

}  // namespace promiseg
