#include "promiseg/core/random.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <set>

using namespace promiseg;

TEST_CASE("random: the finaliser of SplitMix64") {
  // The first output of the published generator with seed 0, and two more.
  static_assert(mix_bits(0) == 0xE220A8397B1DCDAFU);
  static_assert(mix_bits(1) == 0x910A2DEC89025CC1U);
  static_assert(mix_bits(~std::uint64_t{0}) == 0xE4D971771B652C20U);
}

TEST_CASE("random: numbers are the same on every machine") {
  struct Known {
    std::uint64_t seed;
    std::uint64_t stream;
    std::array<std::uint64_t, 3> bits;
  };
  const std::array<Known, 3> known = {{
      {0, 0, {0x238275BC38FCBE91U, 0xF89A2566B5822C54U, 0x47200E1D9780FA44U}},
      {42, 0, {0x6310BF04D8207F46U, 0xEBDB7216A4FFED50U, 0x15471CCE9858769BU}},
      {42, 7, {0x55BE888977820BEFU, 0x62CD1D983D0525E0U, 0x8E84170F6AAB06EBU}},
  }};
  for (const Known& one : known) {
    Random random(one.seed, one.stream);
    for (const std::uint64_t bits : one.bits) CHECK(random.bits() == bits);
  }
  Random uniform(42);
  CHECK(uniform.uniform() == 0.3869742762400409);
  CHECK(uniform.uniform() == 0.9213172250065323);
  CHECK(uniform.uniform() == 0.08311634105516119);
  Random below(42);
  for (const Index expected : {3, 9, 0, 6, 4, 1, 0, 3, 8, 4, 7, 2}) {
    CHECK(below.below(10) == expected);
  }
  Random normal(42);  // through the library's logarithm and cosine
  for (const double expected : {0.8708370826505911, -0.3315794131960261, 0.5035921465473531}) {
    CHECK(std::abs(normal.normal() - expected) < 1e-14);
  }
}

TEST_CASE("random: uniform numbers fill their range evenly and do not leave it") {
  constexpr int kDraws = 100000;
  Random random(1);
  std::array<int, 10> counts{};
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.uniform();
    REQUIRE(x >= 0);
    REQUIRE(x < 1);
    ++counts[static_cast<std::size_t>(10 * x)];
  }
  for (const int count : counts) CHECK(std::abs(count - kDraws / 10) < 500);  // five deviations
  for (int i = 0; i < 1000; ++i) {
    const double x = random.uniform(-3, 5);
    CHECK(x >= -3);
    CHECK(x < 5);
  }
}

TEST_CASE("random: below gives every number under the count, and never the count") {
  Random random(3);
  for (const Index count : {1, 2, 3, 7, 100}) {
    std::set<Index> seen;
    for (int i = 0; i < 5000; ++i) {
      const Index x = random.below(count);
      REQUIRE(x >= 0);
      REQUIRE(x < count);
      seen.insert(x);
    }
    CHECK(static_cast<Index>(seen.size()) == count);
  }
  for (Index count = 1; count <= Index{1} << 52; count = 3 * count + 1) {
    for (int i = 0; i < 1000; ++i) REQUIRE(random.below(count) < count);
  }
}

TEST_CASE("random: streams and seeds differ, and do not depend on each other") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (std::uint64_t stream = 0; stream < 20; ++stream) {
      Random random(seed, stream);
      for (int i = 0; i < 5; ++i) seen.insert(random.bits());
    }
  }
  CHECK(seen.size() == 20 * 20 * 5);

  Random first(5, 1);
  Random second(5, 2);
  const std::uint64_t expected = Random(5, 2).bits();
  for (int i = 0; i < 10; ++i) first.bits();
  CHECK(second.bits() == expected);
}

TEST_CASE("random: chance") {
  Random random(4);
  int hits = 0;
  for (int i = 0; i < 100000; ++i) hits += random.chance(0.25) ? 1 : 0;
  CHECK(std::abs(hits - 25000) < 700);  // five deviations
  for (int i = 0; i < 1000; ++i) {
    CHECK_FALSE(random.chance(0));
    CHECK(random.chance(1));
  }
}

TEST_CASE("random: normal numbers have the moments of the normal distribution") {
  constexpr int kDraws = 100000;
  Random random(2);
  double mean = 0;
  double square = 0;
  double fourth = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    REQUIRE(std::isfinite(x));
    mean += x / kDraws;
    square += x * x / kDraws;
    fourth += x * x * x * x / kDraws;
  }
  CHECK(std::abs(mean) < 0.016);
  CHECK(std::abs(square - 1) < 0.023);
  CHECK(std::abs(fourth - 3) < 0.16);
}
