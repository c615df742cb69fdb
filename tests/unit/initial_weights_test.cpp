// What a new pack begins with: by seed and name alone, and as each layer needs it.
#include "promiseg/train/initial_weights.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "promiseg/adapt/pack_file.hpp"
#include "temporary_folder.hpp"

using namespace promiseg;
using promiseg::train::InitialWeights;
using promiseg_test::TemporaryFolder;

namespace {

using Values = std::vector<float>;

ModelConfig small_model() {
  ModelConfig config;
  config.image_size = 64;
  config.patch_size = 8;
  config.encoder_embed_dim = 32;
  config.encoder_depth = 2;
  config.prompt_embed_dim = 32;
  return config;
}

/// Box corners by attention, and IPS: every kind of layer, few numbers.
PackConfig small_pack() {
  PackConfig config;
  config.apm = ApmKind::cross;
  config.ips = true;
  config.tap_blocks = {2, 1, 1};
  config.point_num = 2;
  config.point_value = {2, 3};
  config.point_scale = 64;
  config.cross_num_heads = 4;
  config.ips_hidden_dim = 16;
  return config;
}

/// Points by a ResNet, with these labels.
PackConfig points_of(const std::vector<Index>& labels) {
  PackConfig config;
  config.apm = ApmKind::resnet;
  config.point_num = static_cast<Index>(labels.size());
  config.point_value = labels;
  return config;
}

template <std::size_t Rank>
Values values_of(nn::WeightSource& source, const std::string& name, const Extents<Rank>& shape) {
  const TensorView<const float, Rank> view = source.get(name, shape);
  return {view.data(), view.data() + view.size()};
}

template <std::size_t Rank>
Values copy_of(const TensorView<const float, Rank>& view) {
  REQUIRE(view.is_contiguous());
  return {view.data(), view.data() + view.size()};
}

Values constant(std::size_t count, float value) { return Values(count, value); }

/// All tensors of the small pack, asked for in the order of `specs`.
std::map<std::string, Values> all_of(InitialWeights& source, const std::vector<TensorSpec>& specs) {
  std::map<std::string, Values> all;
  for (const TensorSpec& spec : specs) {
    std::size_t count = 1;
    for (Index extent : spec.shape) count *= static_cast<std::size_t>(extent);
    const float* first = train::fetch(source, spec.name, spec.shape);
    all[spec.name] = Values(first, first + count);
  }
  return all;
}

float largest(const Values& values) {
  float most = 0;
  for (float value : values) most = std::max(most, std::abs(value));
  return most;
}

double mean(const Values& values) {
  double sum = 0;
  for (float value : values) sum += double{value};
  return sum / static_cast<double>(values.size());
}

double position(float logit) { return 1 / (1 + std::exp(-double{logit})); }

/// How many numbers of two tensors are equal.
std::size_t equal_count(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i] == b[i] ? 1U : 0U;
  return count;
}

}  // namespace

TEST_CASE("initial weights: seed and name decide, not the order of asking") {
  std::vector<TensorSpec> specs = pack_tensor_specs(small_pack(), small_model());
  REQUIRE(specs.size() > 30);
  InitialWeights forwards(small_pack(), 7);
  const std::map<std::string, Values> expected = all_of(forwards, specs);
  std::reverse(specs.begin(), specs.end());
  InitialWeights backwards(small_pack(), 7);
  CHECK((all_of(backwards, specs) == expected));
  // Asked again, the same numbers at the same place.
  const std::string name = "ips_ffn.lin1.weight";
  const auto first = forwards.get(name, Extents<2>{16, 32});
  CHECK((first.data() == forwards.get(name, Extents<2>{16, 32}).data()));
  CHECK((values_of(forwards, name, Extents<2>{16, 32}) == expected.at(name)));

  // Only what is random differs under another seed, and all of that does.
  InitialWeights other(small_pack(), 8);
  std::size_t varying = 0;
  const std::map<std::string, Values> others = all_of(other, specs);
  for (const TensorSpec& spec : specs) {
    CAPTURE(spec.name);
    const Values& before = expected.at(spec.name);
    const bool varied =
        std::adjacent_find(before.begin(), before.end(), std::not_equal_to<>()) != before.end();
    CHECK((others.at(spec.name) != before) == varied);
    if (varied) ++varying;
  }
  CHECK(varying > 10);
}

TEST_CASE("initial weights: tensors of one shape are independent of each other") {
  InitialWeights source(small_pack(), 7);
  const Extents<2> shape{64, 64};
  const Values a = values_of(source, "a.weight", shape);
  const Values b = values_of(source, "b.weight", shape);
  const Values layer = values_of(source, "layers.1.weight", shape);
  const Values next = values_of(source, "layers.2.weight", shape);
  CHECK(equal_count(a, b) < 10);
  CHECK(equal_count(layer, next) < 10);
  // Their product, scaled to correlation: 4096 independent pairs stay far below this.
  double product = 0;
  double square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += double{a[i]} * double{b[i]};
    square += double{a[i]} * double{a[i]};
  }
  CHECK(std::abs(product) < 0.1 * square);
}

TEST_CASE("initial weights: linear layers and convolutions are scaled by their inputs") {
  InitialWeights source(small_pack(), 3);
  const auto check_uniform = [](const Values& values, double bound) {
    CHECK(double{largest(values)} <= bound);
    CHECK(double{largest(values)} > 0.95 * bound);
    CHECK(std::abs(mean(values)) < 0.1 * bound);
  };
  check_uniform(values_of(source, "layer.weight", Extents<2>{64, 25}), 1.0 / 5);
  check_uniform(values_of(source, "conv.weight", Extents<4>{32, 6, 3, 3}), std::sqrt(6.0 / 54));
  check_uniform(
      values_of(source, "apm_cross.layers.0.cross_attention.in_proj_weight", Extents<2>{96, 32}),
      std::sqrt(1.0 / 32));
  // The head of APM begins small: its bias says where the points are.
  check_uniform(values_of(source, "apm_resnet.fc.weight", Extents<2>{4, 400}), 0.1 / 20);
  CHECK(values_of(source, "layer.bias", Extents<1>{9}) == constant(9, 0.0F));
  CHECK(values_of(source, "apm_cross.layers.0.cross_attention.in_proj_bias", Extents<1>{96}) ==
        constant(96, 0.0F));
}

TEST_CASE("initial weights: queries and embeddings are normal") {
  InitialWeights source(small_pack(), 3);
  for (const char* name : {"apm_cross.query_feat.weight", "apm_cross.query_embedding.weight",
                           "apm_cross.level_embedding.weight"}) {
    CAPTURE(name);
    const Values values = values_of(source, name, Extents<2>{64, 64});
    double square = 0;
    for (float value : values) square += double{value} * double{value};
    CHECK(std::abs(mean(values)) < 0.1);
    CHECK(square / static_cast<double>(values.size()) == doctest::Approx(1.0).epsilon(0.1));
    CHECK(largest(values) > 2.5F);
  }
}

TEST_CASE("initial weights: norms begin as the identity") {
  InitialWeights source(small_pack(), 7);
  for (const char* name :
       {"apm_resnet.bn1", "apm_resnet.layer1.0.shortcut.1", "apm_cross.deconv1.batchnorm"}) {
    CAPTURE(name);
    const nn::BatchNormWeights norm = nn::batch_norm_weights(source, name, 8);
    CHECK(copy_of(norm.gamma) == constant(8, 1.0F));
    CHECK(copy_of(norm.beta) == constant(8, 0.0F));
    CHECK(copy_of(norm.mean) == constant(8, 0.0F));
    CHECK(copy_of(norm.variance) == constant(8, 1.0F));
  }
  const nn::NormWeights layer = nn::norm_weights(source, "apm_cross.layers.0.norm1", 8, 1e-5F);
  CHECK(copy_of(layer.gamma) == constant(8, 1.0F));
  CHECK(copy_of(layer.beta) == constant(8, 0.0F));
}

TEST_CASE("initial weights: IPS begins without a shift, but with something to learn from") {
  InitialWeights source(small_pack(), 7);
  const IpsWeights ips = ips_weights(source, small_pack(), small_model());
  CHECK(copy_of(ips.lin2.weight) == constant(std::size_t{4} * 32 * 16, 0.0F));
  CHECK(copy_of(ips.lin2.bias) == constant(std::size_t{4} * 32, 0.0F));
  const Values first = copy_of(ips.lin1.weight);
  CHECK(std::count(first.begin(), first.end(), 0.0F) == 0);
}

TEST_CASE("initial weights: APM's points begin in the frame, corners in their quarters") {
  const PackConfig corners = points_of({2, 3});
  InitialWeights source(corners, 7);
  const Values bias = values_of(source, "apm_resnet.fc.bias", Extents<1>{4});
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    CHECK(position(bias[i]) == doctest::Approx(i < 2 ? 0.25 : 0.75));
  }

  InitialWeights turned(points_of({3, 1, 2}), 7);
  const Values mixed = values_of(turned, "apm_resnet.fc.bias", Extents<1>{6});
  CHECK(position(mixed[0]) == doctest::Approx(0.75));
  CHECK(position(mixed[1]) == doctest::Approx(0.75));
  CHECK(position(mixed[4]) == doctest::Approx(0.25));
  CHECK(position(mixed[5]) == doctest::Approx(0.25));

  InitialWeights scattered(points_of({1, 1, 1, 0, 0, 0}), 7);
  const Values spread = values_of(scattered, "apm_resnet.fc.bias", Extents<1>{12});
  for (std::size_t i = 0; i < spread.size(); ++i) {
    CAPTURE(i);
    CHECK(position(spread[i]) >= 0.2 - 1e-6);
    CHECK(position(spread[i]) <= 0.8 + 1e-6);
    CHECK(std::count(spread.begin(), spread.end(), spread[i]) == 1);
  }
}

TEST_CASE("initial weights: a file comes first, as far as it goes") {
  const TemporaryFolder folder;
  const Values stored = {1.5F, -2.0F, 3.0F, 0.25F, 5.0F, 6.0F};
  SafetensorsWriter writer;
  writer.add("ips_ffn.lin2.weight", TensorView<const float, 2>(stored.data(), {2, 3}));
  writer.add("apm_resnet.fc.bias", TensorView<const float, 1>(stored.data(), {4}));
  writer.write(folder / "begin.safetensors");
  const SafetensorsFile file(folder / "begin.safetensors");

  const PackConfig config = points_of({2, 3});
  InitialWeights source(config, 7, &file);
  InitialWeights without(config, 7);
  CHECK(values_of(source, "ips_ffn.lin2.weight", Extents<2>{2, 3}) == stored);
  CHECK(values_of(source, "apm_resnet.fc.bias", Extents<1>{4}) ==
        Values(stored.begin(), stored.begin() + 4));
  CHECK((values_of(source, "ips_ffn.lin1.weight", Extents<2>{16, 32}) ==
         values_of(without, "ips_ffn.lin1.weight", Extents<2>{16, 32})));
  CHECK(values_of(source, "ips_ffn.lin2.bias", Extents<1>{2}) == constant(2, 0.0F));

  try {
    source.get("apm_resnet.fc.bias", Extents<1>{32});
    FAIL("a tensor of another shape was accepted");
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(error.code() == ErrorCode::shape_mismatch);
    CHECK(message.find("begin.safetensors") != std::string::npos);
    CHECK(message.find("apm_resnet.fc.bias") != std::string::npos);
  }
}
