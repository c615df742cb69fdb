#include "promiseg/sam/model_config.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace promiseg;

namespace {

constexpr const char* kArchs[] = {"vit_b", "vit_l", "vit_h", "litemedsam"};

/// The published config of `arch` with the members of `fields`, not validated.
ModelConfig changed(const char* arch, const std::string& fields) {
  ModelConfig config = published_config(arch);
  apply_json(Json::parse(fields), config);
  return config;
}

/// The message of the error that a change of the published config must give, by validation or
/// before.
std::string complaint(const char* arch, const std::string& fields) {
  CAPTURE(fields);
  try {
    validate(changed(arch, fields));
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::invalid_argument);
    return error.what();
  }
  FAIL("accepted");
  return {};
}

bool complains(const char* arch, const std::string& fields, std::string_view expected) {
  const std::string message = complaint(arch, fields);
  CAPTURE(message);
  return message.find(expected) != std::string::npos;
}

/// `field` with one bad value after the other must be refused, by name.
void check_refused(const char* arch, const std::string& field,
                   const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    CHECK(complains(arch, "{\"" + field + "\": " + value + "}", field));
  }
}

}  // namespace

TEST_CASE("model config: published ones are valid and survive JSON") {
  for (const char* arch : kArchs) {
    CAPTURE(arch);
    const ModelConfig config = published_config(arch);
    CHECK_NOTHROW(validate(config));
    ModelConfig read;
    apply_json(Json::parse(to_json(config).dump()), read);
    CHECK(read == config);
  }
  CHECK_THROWS_WITH_AS(published_config("vit_x"), doctest::Contains("vit_x"), Error);
}

TEST_CASE("model config: unusual but possible values survive JSON") {
  const ModelConfig config = changed("litemedsam", R"({"image_size": 512, "embed_dims": [8, 12],
      "depths": [1, 64], "num_heads": [2, 3], "window_sizes": [64, 1], "mlp_ratio": 0.5,
      "mask_threshold": -1.25, "pixel_mean": [0, 0.1, 0.2], "pixel_std": [1, 0.5, 0.25],
      "resize_rule": "pillow_bilinear", "decoder_ln_eps": 1e-12})");
  CHECK_NOTHROW(validate(config));
  ModelConfig read;
  apply_json(Json::parse(to_json(config).dump()), read);
  CHECK(read == config);
  CHECK(read.depths == std::vector<Index>{1, 64});
}

TEST_CASE("model config: unknown fields and wrong types are named") {
  for (const char* arch : kArchs) {
    CHECK(complains(arch, R"({"image_siez": 64})", "image_siez"));
    CHECK(complains(arch, R"({"point_num": 16})", "point_num"));
    CHECK(complains(arch, R"({"image_size": "64"})", "image_size"));
    CHECK(complains(arch, R"({"image_size": 64.5})", "image_size"));
    CHECK(complains(arch, R"({"image_size": -64})", "image_size"));
    CHECK(complains(arch, R"({"pixel_mean": 1})", "pixel_mean"));
    CHECK(complains(arch, R"({"resize_rule": "nearest"})", "resize_rule"));
    CHECK(complains(arch, R"({"encoder": "resnet"})", "encoder"));
  }
  // A field of the other encoder is unknown, too.
  CHECK(complains("vit_b", R"({"depths": [1, 2]})", "depths"));
  CHECK(complains("litemedsam", R"({"encoder_depth": 2})", "encoder_depth"));
}

TEST_CASE("model config: every count and width is bounded") {
  const std::vector<std::string> bad = {"0", "65537", "4611686018427387904", "9223372036854775807"};
  for (const char* arch : kArchs) {
    CAPTURE(arch);
    const Json fields = to_json(published_config(arch));
    for (const auto& [field, value] : fields.as_object()) {
      if (value.is_integer() && field != "mlp_ratio" && field != "mask_threshold") {
        check_refused(arch, field, bad);
      }
    }
    check_refused(arch, "image_size", {"8193", "16384"});
    check_refused(arch, "num_multimask_outputs", {"65"});
    check_refused(arch, "decoder_depth", {"65"});
    check_refused(arch, "iou_head_depth", {"65"});
    check_refused(arch, "prompt_embed_dim", {"4", "12", "260"});
    check_refused(arch, "mask_in_chans", {"6"});
  }
  check_refused("vit_b", "encoder_depth", {"1025"});
  check_refused("vit_b", "encoder_num_heads", {"7", "1536"});
  check_refused("vit_b", "window_size", {"257"});
  check_refused("vit_b", "patch_size", {"15", "2048"});
  CHECK(complains("vit_b", R"({"image_size": 8192, "patch_size": 4})", "1024"));
  check_refused("litemedsam", "mbconv_expand_ratio", {"65"});
  check_refused("litemedsam", "local_conv_size", {"4", "65"});
}

TEST_CASE("model config: lists are bounded in length and value") {
  check_refused("vit_b", "global_attn_indexes", {"[12]", "[2, 9223372036854775807]", "[-1]"});
  CHECK_NOTHROW(validate(changed("vit_b", R"({"global_attn_indexes": []})")));
  const std::vector<std::string> lists = {
      "[]", "[2]", "[2, 2, 2]", "[0, 2, 6, 2]", "[2, 2, 6, 9223372036854775807]", "[2, 2, 6, -2]"};
  for (const char* field : {"embed_dims", "depths", "num_heads", "window_sizes"}) {
    check_refused("litemedsam", field, lists);
  }
  check_refused("litemedsam", "depths", {"[2, 2, 65, 2]"});
  check_refused("litemedsam", "window_sizes", {"[7, 7, 65, 7]"});
  check_refused("litemedsam", "num_heads", {"[2, 4, 7, 10]"});
  check_refused("litemedsam", "embed_dims", {"[64, 128, 161, 320]", "[65538, 128, 160, 320]"});
  for (const char* field : {"pixel_mean", "pixel_std"}) {
    check_refused("vit_b", field, {"[]", "[1, 1]", "[1, 1, 1, 1]", "[1, 1, 1e300]"});
  }
  check_refused("vit_b", "pixel_std", {"[1, 0, 1]", "[1, -1, 1]", "[1e-200, 1, 1]"});
}

TEST_CASE("model config: a side that stages cannot halve is refused") {
  CHECK(complains("litemedsam", R"({"image_size": 250})", "125"));
  CHECK(complains("litemedsam", R"({"image_size": 2})", "image_size"));
  CHECK_NOTHROW(validate(changed("litemedsam", R"({"image_size": 252})")));
}

TEST_CASE("model config: real numbers must be finite and sensible") {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  struct Field {
    const char* name;
    double ModelConfig::*member;
    std::vector<double> bad;
  };
  const std::vector<Field> fields = {
      {"mlp_ratio", &ModelConfig::mlp_ratio, {0.0, -4.0, 64.5, 1e300, 1e-9, infinity, nan}},
      {"encoder_ln_eps", &ModelConfig::encoder_ln_eps, {0.0, -1e-6, 2.0, 1e300, infinity, nan}},
      {"layernorm2d_eps", &ModelConfig::layernorm2d_eps, {0.0, -1e-6, 2.0, 1e300, infinity, nan}},
      {"decoder_ln_eps", &ModelConfig::decoder_ln_eps, {0.0, -1e-6, 2.0, 1e300, infinity, nan}},
      {"mask_threshold", &ModelConfig::mask_threshold, {1e300, -1e300, infinity, nan}},
  };
  for (const Field& field : fields) {
    for (double value : field.bad) {
      CAPTURE(field.name);
      CAPTURE(value);
      ModelConfig config = published_config("vit_b");
      config.*field.member = value;
      CHECK_THROWS_WITH_AS(validate(config), doctest::Contains(field.name), Error);
    }
  }
  ModelConfig config = published_config("vit_b");
  config.pixel_mean[1] = nan;
  CHECK_THROWS_WITH_AS(validate(config), doctest::Contains("pixel_mean"), Error);
  config = published_config("vit_b");
  config.pixel_std[2] = infinity;
  CHECK_THROWS_WITH_AS(validate(config), doctest::Contains("pixel_std"), Error);
}

TEST_CASE("model config: negative sizes set in code are refused as well") {
  ModelConfig config = published_config("vit_b");
  config.decoder_mlp_dim = -1;
  CHECK_THROWS_WITH_AS(validate(config), doctest::Contains("decoder_mlp_dim"), Error);
  config = published_config("vit_b");
  config.global_attn_indexes = {-3};
  CHECK_THROWS_WITH_AS(validate(config), doctest::Contains("global_attn_indexes"), Error);
}
