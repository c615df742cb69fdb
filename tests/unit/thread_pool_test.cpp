#include "promiseg/core/thread_pool.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__GLIBC__)
#include <pthread.h>
#endif

using namespace promiseg;

TEST_CASE("thread pool: every part runs once, on a thread of the pool") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (const Index parts : {0, 1, 2, 3, 7, 1000}) {
      CAPTURE(threads);
      CAPTURE(parts);
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(parts));
      std::atomic<int> outside = 0;
      pool.parallel_for(parts, [&](Index part, int thread) {
        if (part < 0 || part >= parts || thread < 0 || thread >= pool.size()) {
          ++outside;
        } else {
          ++runs[static_cast<std::size_t>(part)];
        }
      });
      CHECK(outside == 0);
      CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& count) { return count == 1; }));
    }
  }
  CHECK(ThreadPool(0).size() >= 1);
}

TEST_CASE("thread pool: a thread number belongs to one thread") {
  ThreadPool pool(4);
  std::mutex mutex;
  std::vector<std::set<std::thread::id>> seen(4);
  for (int loop = 0; loop < 20; ++loop) {
    pool.parallel_for(16, [&](Index /*part*/, int thread) {
      const std::scoped_lock lock(mutex);
      seen[static_cast<std::size_t>(thread)].insert(std::this_thread::get_id());
    });
  }
  for (const auto& threads : seen) CHECK(threads.size() <= 1);
  for (const auto& id : seen[0]) CHECK(id == std::this_thread::get_id());
}

TEST_CASE("thread pool: what a body wrote is there after the loop") {
  ThreadPool pool(3);
  std::vector<Index> squares(500);
  for (Index round = 0; round < 50; ++round) {
    pool.parallel_for(500, [&](Index part, int /*thread*/) {
      squares[static_cast<std::size_t>(part)] = part * part + round;
    });
    bool right = true;
    for (Index part = 0; part < 500; ++part) {
      right = right && squares[static_cast<std::size_t>(part)] == part * part + round;
    }
    CHECK(right);
  }
}

TEST_CASE("thread pool: exceptions arrive, and the pool works afterwards") {
  for (const int threads : {1, 2, 4}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    for (const Index bad : {0, 5, 99}) {
      CHECK_THROWS_WITH_AS(
          pool.parallel_for(100,
                            [&](Index part, int /*thread*/) {
                              if (part == bad) {
                                throw std::runtime_error("part " + std::to_string(part));
                              }
                            }),
          ("part " + std::to_string(bad)).c_str(), std::runtime_error);
      std::atomic<Index> sum = 0;
      pool.parallel_for(100, [&](Index part, int /*thread*/) { sum += part; });
      CHECK(sum == 4950);
    }
    // Every part fails: one of the exceptions comes out, the parts left over do not run.
    std::atomic<int> runs = 0;
    CHECK_THROWS_AS(pool.parallel_for(1000,
                                      [&](Index /*part*/, int /*thread*/) {
                                        ++runs;
                                        throw 1;
                                      }),
                    int);
    CHECK(runs <= threads);
  }
}

#if defined(__GLIBC__)
TEST_CASE("thread pool: threads that cannot start are an error, not the end") {
  pthread_attr_t before;
  pthread_attr_t too_large;
  REQUIRE(pthread_getattr_default_np(&before) == 0);
  REQUIRE(pthread_attr_init(&too_large) == 0);
  REQUIRE(pthread_attr_setstacksize(&too_large, std::size_t{1} << 60) == 0);
  REQUIRE(pthread_setattr_default_np(&too_large) == 0);
  std::optional<Error> error;
  try {
    ThreadPool pool(3);
  } catch (const Error& caught) {
    error = caught;
  }
  REQUIRE(pthread_setattr_default_np(&before) == 0);
  pthread_attr_destroy(&before);
  pthread_attr_destroy(&too_large);
  REQUIRE(error.has_value());
  CHECK(error->code() == ErrorCode::unsupported);
  CHECK(std::string(error->what()).find("3 threads") != std::string::npos);
  CHECK(ThreadPool(3).size() == 3);
}
#endif

TEST_CASE("shares lie behind one another, cover everything and differ by one at most") {
  for (const Index count : {0, 1, 2, 7, 16, 1000}) {
    for (const Index parts : {1, 2, 3, 16, 24}) {
      CAPTURE(count);
      CAPTURE(parts);
      Index end = 0;
      for (Index i = 0; i < parts; ++i) {
        const IndexRange share = share_of(count, i, parts);
        CHECK(share.begin == end);
        CHECK(share.size() >= count / parts);
        CHECK(share.size() <= (count + parts - 1) / parts);
        end = share.end;
      }
      CHECK(end == count);
    }
  }
}
