#include "promiseg/core/arena.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

using namespace promiseg;

namespace {

struct CountingArena {
  int allocations = 0;
  Arena arena{[this](std::size_t size) {
    ++allocations;
    return allocate_host(size);
  }};
};

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

}  // namespace

TEST_CASE("arena: pieces are aligned and do not overlap") {
  CountingArena counting;
  const std::vector<std::size_t> sizes{1, 63, 64, 65, 1000, 3, kMegabyte, 5 * kMegabyte + 1, 7, 64};
  std::vector<unsigned char*> pieces;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    void* piece = counting.arena.take(sizes[i]);
    CHECK(reinterpret_cast<std::uintptr_t>(piece) % kAlignment == 0);
    std::memset(piece, static_cast<int>(i + 1), sizes[i]);
    pieces.push_back(static_cast<unsigned char*>(piece));
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    CHECK(pieces[i][0] == i + 1);
    CHECK(pieces[i][sizes[i] - 1] == i + 1);
  }
}

TEST_CASE("arena: small pieces share a block") {
  CountingArena counting;
  CHECK(counting.arena.reserved() == 0);
  for (int i = 0; i < 100; ++i) counting.arena.take(1000);
  CHECK(counting.allocations == 1);
  CHECK(counting.arena.reserved() == kMegabyte);
}

TEST_CASE("arena: after a rewind the same memory comes again") {
  CountingArena counting;
  Arena& arena = counting.arena;
  void* kept = arena.take(100);
  std::memset(kept, 42, 100);
  const Arena::Mark mark = arena.mark();
  const std::vector<std::size_t> sizes{10, 2 * kMegabyte, 500, kMegabyte, 3 * kMegabyte, 64};
  const auto sequence = [&] {
    std::vector<void*> pieces;
    for (const std::size_t size : sizes) {
      pieces.push_back(arena.take(size));
      std::memset(pieces.back(), 1, size);
    }
    return pieces;
  };
  const std::vector<void*> first = sequence();
  const int allocations = counting.allocations;
  const std::size_t reserved = arena.reserved();
  for (int round = 0; round < 5; ++round) {
    arena.rewind(mark);
    CHECK(sequence() == first);
  }
  CHECK(counting.allocations == allocations);
  CHECK(arena.reserved() == reserved);
  CHECK(static_cast<unsigned char*>(kept)[99] == 42);

  arena.rewind({});
  CHECK(arena.take(100) == kept);
}

TEST_CASE("arena: marks nest") {
  CountingArena counting;
  Arena& arena = counting.arena;
  const Arena::Mark outer = arena.mark();
  void* a = arena.take(64);
  const Arena::Mark inner = arena.mark();
  void* b = arena.take(64);
  CHECK(a != b);
  arena.rewind(inner);
  CHECK(arena.take(64) == b);
  arena.rewind(outer);
  CHECK(arena.take(64) == a);
}

TEST_CASE("arena: an allocator that fails leaves the arena as it was") {
  bool failing = false;
  Arena arena([&](std::size_t size) {
    if (failing) throw std::bad_alloc();
    return allocate_host(size);
  });
  arena.take(64);
  const std::size_t reserved = arena.reserved();
  failing = true;
  CHECK_THROWS_AS(arena.take(10 * kMegabyte), std::bad_alloc);
  CHECK(arena.reserved() == reserved);
  failing = false;
  void* piece = arena.take(10 * kMegabyte);
  std::memset(piece, 1, 10 * kMegabyte);
  CHECK(arena.reserved() > reserved);
}
