// A fixed set of worker threads for loops over independent parts.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "promiseg/core/tensor_view.hpp"

namespace promiseg {

/// Runs loop bodies on a fixed number of threads, the calling one included. Parts are handed out
/// one by one, so a slow thread does not hold up the others; which thread runs a part is not
/// determined, so a body must write to places that depend on the part alone. Not reentrant: a body
/// must not start another loop, and one pool serves one caller at a time.
class ThreadPool {
 public:
  /// `threads` in all; 0 takes as many as the machine has processors. Throws `unsupported` if the
  /// system does not let so many start.
  explicit ThreadPool(int threads = 0) : size_(threads > 0 ? threads : default_size()) {
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
      running_ = size_ - 1;
      error_ = nullptr;
      ++generation_;
    }
    start_.notify_all();
    run_parts(0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static int default_size() {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }

  /// Ends the threads that were started.
  void stop() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    start_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void work(int thread) {
    std::size_t seen = 0;
    while (true) {
      {
        std::unique_lock lock(mutex_);
        start_.wait(lock, [&] { return stopping_ || generation_ != seen; });
        if (stopping_) return;
        seen = generation_;
      }
      run_parts(thread);
      {
        const std::scoped_lock lock(mutex_);
        --running_;
      }
      done_.notify_one();
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
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable done_;
  std::size_t generation_ = 0;
  int running_ = 0;
  bool stopping_ = false;
  std::exception_ptr error_;

  const void* body_ = nullptr;
  void (*invoke_)(const void*, Index, int) = nullptr;
  Index parts_ = 0;
  std::atomic<Index> next_{0};
};

}  // namespace promiseg
