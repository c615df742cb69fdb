// Address ranges, and where gradients lie.
#include "promiseg/train/gradient_memory.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <string>

using namespace promiseg;
using train::AddressRanges;
using train::GradientMemory;

namespace {

/// Addresses 0 to 15, those in the set as '#'.
std::string picture(const AddressRanges& ranges) {
  std::string text;
  for (AddressRanges::Address at = 0; at < 16; ++at) {
    text += ranges.overlaps(at, at + 1) ? '#' : '.';
  }
  return text;
}

/// Memory that outlives the buffers made of it, so the addresses are known.
struct Ground {
  alignas(64) std::array<float, 256> values{};

  /// The floats [begin, begin + count), as a backend would give them out.
  Buffer buffer(std::size_t begin, std::size_t count) {
    return {values.data() + begin, count * sizeof(float), MemorySpace::host, [](void*) {}};
  }

  template <std::size_t Rank>
  TensorView<float, Rank> view(std::size_t begin, const Extents<Rank>& extents) {
    return {values.data() + begin, extents};
  }
};

}  // namespace

TEST_CASE("address ranges: insert") {
  AddressRanges ranges;
  CHECK(picture(ranges) == "................");
  ranges.insert(4, 7);
  CHECK(picture(ranges) == "....###.........");
  SUBCASE("apart from others") {
    ranges.insert(9, 11);
    ranges.insert(1, 2);
    CHECK(picture(ranges) == ".#..###..##.....");
  }
  SUBCASE("touching, in front and behind") {
    ranges.insert(7, 8);
    ranges.insert(2, 4);
    CHECK(picture(ranges) == "..######........");
  }
  SUBCASE("overlapping the beginning") {
    ranges.insert(2, 5);
    CHECK(picture(ranges) == "..#####.........");
  }
  SUBCASE("overlapping the end") {
    ranges.insert(6, 10);
    CHECK(picture(ranges) == "....######......");
  }
  SUBCASE("inside") {
    ranges.insert(5, 6);
    CHECK(picture(ranges) == "....###.........");
  }
  SUBCASE("around") {
    ranges.insert(3, 9);
    CHECK(picture(ranges) == "...######.......");
  }
  SUBCASE("over several, and the gaps between them") {
    ranges.insert(9, 10);
    ranges.insert(12, 14);
    ranges.insert(5, 13);
    CHECK(picture(ranges) == "....##########..");
  }
}

TEST_CASE("address ranges: erase") {
  AddressRanges ranges;
  ranges.insert(2, 6);
  ranges.insert(8, 12);
  REQUIRE(picture(ranges) == "..####..####....");
  SUBCASE("in the middle: two are left") {
    ranges.erase(3, 5);
    CHECK(picture(ranges) == "..#..#..####....");
    ranges.insert(4, 5);
    CHECK(picture(ranges) == "..#.##..####....");
  }
  SUBCASE("the beginning") {
    ranges.erase(0, 4);
    CHECK(picture(ranges) == "....##..####....");
  }
  SUBCASE("the end") {
    ranges.erase(5, 8);
    CHECK(picture(ranges) == "..###...####....");
  }
  SUBCASE("exactly one") {
    ranges.erase(8, 12);
    CHECK(picture(ranges) == "..####..........");
  }
  SUBCASE("parts of two") {
    ranges.erase(4, 10);
    CHECK(picture(ranges) == "..##......##....");
  }
  SUBCASE("all of one and parts of others") {
    ranges.insert(13, 15);
    ranges.erase(5, 14);
    CHECK(picture(ranges) == "..###.........#.");
  }
  SUBCASE("what is not there") {
    ranges.erase(6, 8);
    ranges.erase(0, 2);
    ranges.erase(12, 16);
    CHECK(picture(ranges) == "..####..####....");
  }
  SUBCASE("everything") {
    ranges.clear();
    CHECK(picture(ranges) == "................");
  }
}

TEST_CASE("address ranges: overlaps count from the first address to before the last") {
  AddressRanges ranges;
  ranges.insert(4, 8);
  CHECK_FALSE(ranges.overlaps(0, 4));
  CHECK(ranges.overlaps(0, 5));
  CHECK(ranges.overlaps(7, 9));
  CHECK_FALSE(ranges.overlaps(8, 12));
  CHECK(ranges.overlaps(5, 6));
  CHECK(ranges.overlaps(0, 12));
  ranges.erase(5, 7);
  CHECK_FALSE(ranges.overlaps(5, 7));
  CHECK(ranges.overlaps(5, 8));
}

TEST_CASE("gradient memory: the gradient of a view lies at its place in the shadow") {
  Ground ground;
  GradientMemory memory;
  Buffer first = ground.buffer(0, 64);
  Buffer second = ground.buffer(128, 128);
  memory.add_shadow(first);
  memory.add_shadow(second);
  CHECK(first.size() == 32 * sizeof(float));
  CHECK(second.size() == 64 * sizeof(float));

  const auto whole = ground.view(0, Extents<2>{4, 8});
  CHECK(memory.gradient(whole).data() == ground.values.data() + 32);
  CHECK(memory.gradient(whole).extents() == whole.extents());
  CHECK(memory.gradient(ground.view(31, Extents<1>{1})).data() == ground.values.data() + 63);
  CHECK(memory.gradient(ground.view(130, Extents<1>{3})).data() == ground.values.data() + 194);

  const TensorView<const float, 2> part = whole.slice(1, 2, 3).permuted({1, 0});
  const TensorView<float, 2> gradient = memory.gradient(part);
  CHECK(gradient.data() == ground.values.data() + 34);
  CHECK(gradient.extents() == Extents<2>{3, 4});
  CHECK(gradient.strides() == Extents<2>{1, 8});
  gradient(2, 1) = 7;  // row 1, column 4
  CHECK(ground.values[32 + 8 + 4] == 7.0F);

  // Between the two, and in the shadows.
  for (const std::size_t at : std::array<std::size_t, 6>{32, 63, 64, 127, 192, 255}) {
    CAPTURE(at);
    CHECK_THROWS_AS(memory.gradient(ground.view(at, Extents<1>{1})), Error);
  }
}

TEST_CASE("gradient memory: blocks whose memory comes again are forgotten") {
  Ground ground;
  GradientMemory memory;
  Buffer old = ground.buffer(0, 128);
  memory.add_shadow(old);
  SUBCASE("by a block inside") {
    Buffer fresh = ground.buffer(32, 32);
    memory.add_shadow(fresh);
    CHECK(memory.gradient(ground.view(40, Extents<1>{1})).data() == ground.values.data() + 56);
    CHECK_THROWS_AS(memory.gradient(ground.view(0, Extents<1>{1})), Error);
    CHECK_THROWS_AS(memory.gradient(ground.view(60, Extents<1>{1})), Error);
  }
  SUBCASE("by a block around") {
    Buffer fresh = ground.buffer(0, 256);
    memory.add_shadow(fresh);
    CHECK(memory.gradient(ground.view(1, Extents<1>{1})).data() == ground.values.data() + 129);
    CHECK(memory.gradient(ground.view(127, Extents<1>{1})).data() == ground.values.data() + 255);
  }
}

TEST_CASE("gradient memory: which values need a gradient") {
  Ground ground;
  GradientMemory memory;
  const auto image = ground.view(16, Extents<2>{4, 8});
  CHECK_FALSE(memory.needs(image));
  memory.note(image, true);
  CHECK(memory.needs(image));
  CHECK(memory.needs(image.select(0, 3)));
  CHECK_FALSE(memory.needs(ground.view(0, Extents<1>{16})));
  CHECK_FALSE(memory.needs(ground.view(48, Extents<1>{8})));
  CHECK(memory.needs(ground.view(0, Extents<1>{17})));
  CHECK(memory.needs(TensorView<const float, 2>(image)));

  SUBCASE("values that need none replace others") {
    memory.note(image.select(0, 1), false);
    CHECK(memory.needs(image.select(0, 0)));
    CHECK_FALSE(memory.needs(image.select(0, 1)));
    CHECK(memory.needs(image.select(0, 2)));
    CHECK(memory.needs(image));
    memory.note(image, false);
    CHECK_FALSE(memory.needs(image));
  }
  SUBCASE("in any order of the axes, as long as there are no gaps") {
    memory.note(image.permuted({1, 0}), false);
    CHECK_FALSE(memory.needs(image));
  }
  SUBCASE("a view with gaps may have neighbours in them, which keep theirs") {
    memory.note(image.slice(1, 0, 4), false);
    CHECK(memory.needs(image.slice(1, 4, 4)));
  }
  SUBCASE("all is forgotten") {
    memory.forget_values();
    CHECK_FALSE(memory.needs(image));
  }
}

TEST_CASE("gradient memory: a view with gaps counts from its first value to its last") {
  Ground ground;
  GradientMemory memory;
  const auto image = ground.view(16, Extents<2>{4, 8});
  memory.note(image.slice(1, 2, 3), true);
  CHECK(memory.needs(image.slice(1, 2, 3)));
  CHECK(memory.needs(image.slice(1, 5, 3)));  // between the rows: said too often, never too rarely
  CHECK_FALSE(memory.needs(ground.view(16, Extents<1>{2})));
  CHECK_FALSE(memory.needs(ground.view(45, Extents<1>{3})));

  memory.forget_values();
  memory.note(image.select(0, 1).with_unit_axis(0).broadcast_to({5, 8}), true);
  CHECK(memory.needs(image.select(0, 1)));
  CHECK_FALSE(memory.needs(image.select(0, 0)));
  CHECK_FALSE(memory.needs(image.select(0, 2)));
}

TEST_CASE("gradient memory: weights are kept when values are forgotten") {
  Ground ground;
  GradientMemory memory;
  const auto weight = ground.view(0, Extents<1>{8});
  const auto value = ground.view(8, Extents<1>{8});
  memory.note_weight(weight);
  memory.note(value, true);
  memory.note(weight, false);  // as it is written, before it is known to train
  CHECK(memory.needs(weight));
  CHECK(memory.needs(value));
  memory.forget_values();
  CHECK(memory.needs(weight));
  CHECK_FALSE(memory.needs(value));
  memory.forget_weights();
  CHECK_FALSE(memory.needs(weight));
}

TEST_CASE("gradient memory: empty views need nothing and change nothing") {
  Ground ground;
  GradientMemory memory;
  memory.note(ground.view(0, Extents<1>{16}), true);
  CHECK_FALSE(memory.needs(TensorView<const float, 2>{}));
  CHECK_FALSE(memory.needs(ground.view(4, Extents<2>{0, 3})));
  memory.note(ground.view(4, Extents<2>{3, 0}), false);
  CHECK(memory.needs(ground.view(4, Extents<1>{1})));
}
