// The cache of encoder features: what a key depends on, what is kept, what counts as missing.
#include "promiseg/train/feature_cache.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error_message.hpp"
#include "temporary_folder.hpp"

using namespace promiseg;
using promiseg::train::FeatureCache;
using promiseg_test::contains;
using promiseg_test::message_of;
using promiseg_test::read_bytes;
using promiseg_test::TemporaryFolder;
using promiseg_test::write_bytes;
namespace fs = std::filesystem;

namespace {

using Features = Tensor<float, 3>;
using Taps = std::map<Index, Features>;

constexpr Index kGrid = 8;
constexpr Index kChannels = 32;
constexpr Index kTapChannels = 16;

ModelConfig small_config() {
  ModelConfig config;
  config.image_size = 64;
  config.patch_size = 8;
  config.encoder_embed_dim = kTapChannels;
  config.encoder_depth = 2;
  config.prompt_embed_dim = kChannels;
  return config;
}

std::string key_of(ImageView image, const ModelConfig& config = small_config(),
                   std::string_view model_id = "model") {
  return FeatureCache::key(image, config, model_id);
}

Image noise(const Extents<3>& extents) {
  Image image(extents);
  for (Index i = 0; i < image.size(); ++i) {
    image.data()[i] = static_cast<std::uint8_t>(i * 37 % 251);
  }
  return image;
}

/// Numbers that half precision cannot hold.
Features features(Index channels, float first) {
  Features tensor({kGrid, kGrid, channels});
  for (Index i = 0; i < tensor.size(); ++i) {
    tensor.data()[i] = first + static_cast<float>(i) / 3.0F;
  }
  return tensor;
}

Features read_features(const FeatureCache& cache, const std::string& key, const std::string& name,
                       Index channels) {
  Features tensor({kGrid, kGrid, channels});
  cache.read(key, name, tensor);
  return tensor;
}

/// Half precision has 11 binary digits: the error is at most half of the last.
void check_nearly_same(const Features& read, const Features& stored) {
  REQUIRE(read.extents() == stored.extents());
  Index inexact = 0;
  Index far = 0;
  for (Index i = 0; i < read.size(); ++i) {
    const float error = std::abs(read.data()[i] - stored.data()[i]);
    if (error > 0.0F) ++inexact;
    if (error > 0x1p-11F * std::abs(stored.data()[i])) ++far;
  }
  CHECK(far == 0);
  CHECK(inexact > 0);
}

fs::path file_of(const FeatureCache& cache, const std::string& name) {
  return cache.folder() / ("key." + name + ".safetensors");
}

}  // namespace

TEST_CASE("content hash: every byte, their order and where pieces end") {
  const auto hash = [](const std::vector<std::string_view>& pieces) {
    ContentHash content;
    for (std::string_view piece : pieces) content.add(piece);
    return content.text();
  };
  const std::string text = hash({"abc"});
  CHECK(text.size() == 32);
  CHECK(text.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(hash({"abc"}) == text);
  const std::set<std::string> all = {text,
                                     hash({"acb"}),
                                     hash({"ab", "c"}),
                                     hash({"a", "bc"}),
                                     hash({"abc", ""}),
                                     hash({"", "abc"}),
                                     hash({"abd"}),
                                     hash({std::string_view("abc\0", 4)}),
                                     hash({}),
                                     hash({""})};
  CHECK(all.size() == 10);
  // Bytes may also come as such.
  const std::array<std::byte, 3> bytes = {std::byte{'a'}, std::byte{'b'}, std::byte{'c'}};
  CHECK(ContentHash().add(std::span<const std::byte>(bytes)).text() == text);
}

TEST_CASE("feature cache: any pixel changes the key") {
  Image image = noise({5, 7, 3});
  std::set<std::string> keys = {key_of(image)};
  CHECK(keys.begin()->size() == 32);
  for (std::uint8_t& pixel : image.elements()) {
    const std::uint8_t before = pixel;
    pixel = static_cast<std::uint8_t>(before ^ 1U);
    keys.insert(key_of(image));
    pixel = before;
  }
  CHECK(keys.size() == static_cast<std::size_t>(image.size()) + 1);
  CHECK(keys.contains(key_of(image)));

  std::swap(image.data()[0], image.data()[1]);
  CHECK_FALSE(keys.contains(key_of(image)));
}

TEST_CASE("feature cache: the size is part of the key, strides are not") {
  std::set<std::string> keys;
  for (const Extents<3>& extents :
       {Extents<3>{2, 6, 1}, {6, 2, 1}, {3, 4, 1}, {1, 12, 1}, {2, 2, 3}, {4, 1, 3}}) {
    keys.insert(key_of(Image(extents)));
  }
  CHECK(keys.size() == 6);

  const Image whole = noise({8, 9, 3});
  const ImageView part = whole.view().slice(0, 2, 4).slice(1, 1, 5);
  REQUIRE_FALSE(part.is_contiguous());
  CHECK(key_of(part) == key_of(Image(part)));
  CHECK(key_of(part) != key_of(whole));
}

TEST_CASE("feature cache: model and preprocessing are part of the key") {
  const Image image = noise({6, 6, 1});
  std::set<std::string> keys = {key_of(image)};
  for (const char* id : {"model2", "modem", ""}) keys.insert(key_of(image, small_config(), id));
  CHECK(keys.size() == 4);

  std::vector<ModelConfig> configs(5, small_config());
  configs[0].image_size = 128;
  configs[1].resize_rule = ResizeRule::area;
  configs[2].intensity_rule = IntensityRule::min_max;
  configs[3].pixel_mean[1] += 1e-9;
  configs[4].encoder_ln_eps = 1e-5;
  for (const ModelConfig& config : configs) keys.insert(key_of(image, config));
  CHECK(keys.size() == 9);
  CHECK(key_of(image) == key_of(image, small_config(), std::string("mod") + "el"));
}

TEST_CASE("feature cache: what is stored is read, at half precision") {
  const TemporaryFolder folder;
  const fs::path place = folder / "not/yet/there";
  const FeatureCache cache(place);
  CHECK(cache.folder().string() == place.string());
  CHECK(fs::is_directory(place));

  const Features embedding = features(kChannels, -400.0F);
  const Taps taps = {{1, features(kTapChannels, 1.0F)}, {2, features(kTapChannels, 700.0F)}};
  cache.store("key", embedding, taps);
  check_nearly_same(read_features(cache, "key", "embedding", kChannels), embedding);
  for (Index tap : {1, 2}) {
    check_nearly_same(read_features(cache, "key", FeatureCache::tap_name(tap), kTapChannels),
                      taps.at(tap));
  }
  // Two bytes a number, besides the header.
  const auto values = static_cast<std::uintmax_t>(kGrid * kGrid * kChannels);
  CHECK(fs::file_size(file_of(cache, "embedding")) < 2 * values + 1000);

  // Another run that needs other taps, or none, takes nothing away.
  cache.store("key", embedding, {});
  cache.store("key", embedding, {{3, features(kTapChannels, 2.0F)}});
  CHECK(cache.has("key", std::vector<Index>{1, 2, 3}));
  check_nearly_same(read_features(cache, "key", "tap.2", kTapChannels), taps.at(2));
}

TEST_CASE("feature cache: numbers at the ends of half precision") {
  const TemporaryFolder folder;
  const FeatureCache cache(folder.path());
  const std::vector<std::pair<float, float>> stored_and_read = {
      {0.0F, 0.0F},   {-0.0F, -0.0F},       {1.0F, 1.0F},
      {-2.5F, -2.5F}, {65504.0F, 65504.0F}, {0x1p-24F, 0x1p-24F},
      {1e-12F, 0.0F}, {0x1p-14F, 0x1p-14F}, {1.0F / 3.0F, 0x1.554p-2F}};
  Features tensor({1, 1, static_cast<Index>(stored_and_read.size())});
  for (std::size_t i = 0; i < stored_and_read.size(); ++i) {
    tensor.data()[i] = stored_and_read[i].first;
  }
  cache.store("key", tensor, {});
  Features read(tensor.extents());
  cache.read("key", "embedding", read);
  for (std::size_t i = 0; i < stored_and_read.size(); ++i) {
    CAPTURE(stored_and_read[i].first);
    CHECK(std::bit_cast<std::uint32_t>(read.data()[i]) ==
          std::bit_cast<std::uint32_t>(stored_and_read[i].second));
  }
}

TEST_CASE("feature cache: numbers beyond half precision are refused") {
  const TemporaryFolder folder;
  const FeatureCache cache(folder.path());
  for (const float value : {65520.0F, -1e6F, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    Features tensor({1, 1, 2});
    tensor.data()[1] = value;
    CHECK(contains(message_of(ErrorCode::unsupported, [&] { cache.store("key", tensor, {}); }),
                   "embedding"));
    CHECK_FALSE(cache.has("key", {}));
  }
}

TEST_CASE("feature cache: features lack where a tap does") {
  const TemporaryFolder folder;
  const FeatureCache cache(folder.path());
  const auto has = [&](const std::string& key, const std::vector<Index>& taps) {
    return cache.has(key, taps);
  };
  CHECK_FALSE(has("key", {}));
  cache.store("key", features(kChannels, 0.0F), {{2, features(kTapChannels, 0.0F)}});
  CHECK(has("key", {}));
  CHECK(has("key", {2}));
  CHECK_FALSE(has("key", {1}));
  CHECK_FALSE(has("key", {2, 1}));
  CHECK_FALSE(has("other", {}));
}

TEST_CASE("feature cache: a damaged file counts as missing, and can be replaced") {
  const TemporaryFolder folder;
  const FeatureCache cache(folder.path());
  const std::vector<Index> taps = {1};
  cache.store("key", features(kChannels, 0.0F), {{1, features(kTapChannels, 9.0F)}});
  const fs::path file = file_of(cache, "tap.1");
  const std::vector<char> whole = read_bytes(file);
  REQUIRE(whole.size() > 1000);
  REQUIRE(cache.has("key", taps));

  for (std::size_t size = 0; size < whole.size(); size += 61) {
    CAPTURE(size);
    write_bytes(file, std::span(whole).first(size));
    CHECK_FALSE(cache.has("key", taps));
  }
  write_bytes(file, std::span(whole).first(whole.size() - 1));
  CHECK_FALSE(cache.has("key", taps));

  std::vector<char> garbled = whole;
  std::fill(garbled.begin() + 8, garbled.begin() + 40, '#');
  write_bytes(file, garbled);
  CHECK_FALSE(cache.has("key", taps));
  write_bytes(file, std::string_view("not a file of features\n"));
  CHECK_FALSE(cache.has("key", taps));

  cache.store("key", features(kChannels, 0.0F), {{1, features(kTapChannels, 9.0F)}});
  CHECK(cache.has("key", taps));
  CHECK(read_bytes(file) == whole);

  // A file under another's name, and one that says nothing of its key.
  cache.store("other", features(kChannels, 0.0F), {});
  fs::rename(file, folder / "other.tap.1.safetensors");
  CHECK_FALSE(cache.has("other", taps));
  SafetensorsWriter writer;
  writer.adopt("tap.1", features(kTapChannels, 0.0F).view());
  writer.write(file);
  CHECK_FALSE(cache.has("key", taps));

  fs::remove(file);
  fs::create_directory(file);
  CHECK_FALSE(cache.has("key", taps));
}

TEST_CASE("feature cache: a tensor of another shape or type is refused by name") {
  const TemporaryFolder folder;
  const FeatureCache cache(folder.path());
  cache.store("key", features(kChannels, 0.0F), {{2, features(kTapChannels, 0.0F)}});
  const auto message = [&](ErrorCode code, const std::string& name, const Extents<3>& extents) {
    Features to(extents);
    return message_of(code, [&] { cache.read("key", name, to); });
  };
  for (const Extents<3>& extents : {Extents<3>{8, 8, 16}, {8, 4, 32}, {16, 4, 32}, {8, 8, 64}}) {
    const std::string text = message(ErrorCode::bad_format, "embedding", extents);
    CAPTURE(text);
    CHECK(contains(text, "\"embedding\""));
    CHECK(contains(text, file_of(cache, "embedding").string()));
  }
  const std::string tap = message(ErrorCode::bad_format, "tap.2", {8, 8, 32});
  CHECK(contains(tap, "\"tap.2\""));
  CHECK(contains(tap, "[8, 8, 32]"));
  const std::string missing = message(ErrorCode::not_found, "tap.1", {8, 8, 16});
  CHECK(contains(missing, file_of(cache, "tap.1").string()));

  SafetensorsWriter writer;
  writer.adopt("tap.4", features(kTapChannels, 0.0F).view());  // float32
  writer.write(file_of(cache, "tap.4"));
  CHECK(contains(message(ErrorCode::bad_format, "tap.4", {8, 8, 16}), "half precision"));
}

TEST_CASE("feature cache: bytes of an image's features") {
  const ModelConfig config = small_config();
  const std::vector<Index> both = {1, 2};
  CHECK(FeatureCache::bytes_per_image(config, {}) == std::uint64_t{8 * 8 * 32 * 2});
  CHECK(FeatureCache::bytes_per_image(config, both) == std::uint64_t{8 * 8 * (32 + 16 + 16) * 2});

  // It is what the files hold.
  const TemporaryFolder folder;
  const FeatureCache cache(folder.path());
  cache.store("key", features(kChannels, 0.0F),
              {{1, features(kTapChannels, 0.0F)}, {2, features(kTapChannels, 0.0F)}});
  std::uint64_t stored = 0;
  for (const char* name : {"embedding", "tap.1", "tap.2"}) {
    const SafetensorsFile file(file_of(cache, name));
    for (const auto& [tensor, entry] : file.tensors()) stored += entry.bytes.size();
  }
  CHECK(stored == FeatureCache::bytes_per_image(config, both));

  const std::string text = message_of(ErrorCode::invalid_argument, [&] {
    FeatureCache::bytes_per_image(config, std::vector<Index>{1, 3});
  });
  CHECK(contains(text, "3"));
  CHECK(contains(text, "1 to 2"));
}

TEST_CASE("feature cache: a folder that cannot be made is named") {
  const TemporaryFolder folder;
  write_bytes(folder / "file", std::string_view("in the way"));
  for (const fs::path& place : {folder / "file", folder / "file/below"}) {
    const std::string text = message_of(ErrorCode::io, [&] { FeatureCache cache(place); });
    CHECK(contains(text, place.string()));
  }
}
