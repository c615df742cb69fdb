#include "promiseg/adapt/pack_config.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

using namespace promiseg;

namespace {

PackConfig of_kind(ApmKind apm) {
  PackConfig config;
  config.apm = apm;
  config.ips = true;
  return config;
}

/// A config of the kind with the members of `fields` must be refused, naming `expected`.
void check_refused(ApmKind apm, const std::string& fields, const std::string& expected) {
  CAPTURE(fields);
  try {
    PackConfig config = of_kind(apm);
    apply_json(Json::parse(fields), config);
    validate(config);
  } catch (const Error& error) {
    CAPTURE(error.what());
    CHECK(error.code() == ErrorCode::invalid_argument);
    CHECK(std::string(error.what()).find(expected) != std::string::npos);
    return;
  }
  FAIL("accepted");
}

/// One that is possible in itself must be refused for the model.
void check_refused_for(const char* arch, const PackConfig& config, const std::string& expected) {
  CAPTURE(expected);
  CHECK_NOTHROW(validate(config));
  CHECK_THROWS_WITH_AS(validate(config, published_config(arch)),
                       doctest::Contains(expected.c_str()), Error);
}

}  // namespace

TEST_CASE("pack config: every kind is valid and survives JSON") {
  for (ApmKind apm : {ApmKind::none, ApmKind::resnet, ApmKind::cross}) {
    PackConfig config = of_kind(apm);
    config.label = "polyp \"1\"";
    config.mask_token = 2;
    config.ips_hidden_dim = 65536;
    config.cleaning.open = 5;
    config.cleaning.threshold = 0.25;
    if (apm != ApmKind::none) {
      config.tap_blocks = {9, 6, 3};
      config.point_num = 3;
      config.point_value = {2, 3, 1};
      config.point_scale = 511.5;
    }
    if (apm == ApmKind::none) config.own_prompt = OwnPrompt::image;
    if (apm == ApmKind::resnet) config.resnet_blocks = {1, 64, 2, 1};
    if (apm == ApmKind::cross) config.cross_num_layers = 2;
    CHECK_NOTHROW(validate(config));
    CHECK_NOTHROW(validate(config, published_config("vit_b")));
    PackConfig read;
    apply_json(Json::parse(to_json(config).dump()), read);
    CHECK(read == config);
  }
}

TEST_CASE("pack config: fields of another kind, unknown fields and wrong types are named") {
  check_refused(ApmKind::resnet, R"({"point_nmu": 16})", "point_nmu");
  check_refused(ApmKind::resnet, R"({"image_size": 1024})", "image_size");
  check_refused(ApmKind::resnet, R"({"cross_num_heads": 12})", "cross_num_heads");
  check_refused(ApmKind::cross, R"({"resnet_blocks": [1, 1, 1, 1]})", "resnet_blocks");
  check_refused(ApmKind::none, R"({"tap_blocks": [12]})", "tap_blocks");
  check_refused(ApmKind::none, R"({"ips": false, "ips_hidden_dim": 8})", "ips_hidden_dim");
  check_refused(ApmKind::resnet, R"({"point_num": "16"})", "point_num");
  check_refused(ApmKind::resnet, R"({"point_num": -1})", "point_num");
  check_refused(ApmKind::resnet, R"({"apm": "foo"})", "foo");
  check_refused(ApmKind::resnet, R"({"cleaning": {"opne": 3}})", "opne");
  check_refused(ApmKind::none, R"({"own_prompt": "dice"})", "own_prompt");
}

TEST_CASE("pack config: values out of range are refused without a model") {
  const std::string huge = "9223372036854775807";
  check_refused(ApmKind::none, R"({"ips": false})", "neither APM nor IPS");
  for (const std::string& value : {std::string("0"), std::string("65537"), huge}) {
    check_refused(ApmKind::none, "{\"ips_hidden_dim\": " + value + "}", "ips_hidden_dim");
    check_refused(ApmKind::cross, "{\"cross_num_heads\": " + value + "}", "cross_num_heads");
    check_refused(ApmKind::cross, "{\"cross_num_layers\": " + value + "}", "cross_num_layers");
    check_refused(ApmKind::resnet, "{\"point_num\": " + value + "}", "point_num");
    check_refused(ApmKind::resnet, "{\"resnet_blocks\": [1, 1, " + value + ", 1]}",
                  "resnet_blocks");
  }
  check_refused(ApmKind::none, "{\"mask_token\": " + huge + "}", "mask_token");
  check_refused(ApmKind::none, R"({"mask_token": 65})", "mask_token");
  check_refused(ApmKind::resnet, R"({"point_num": 15})", "point_value has 16");
  check_refused(ApmKind::resnet, R"({"point_num": 1, "point_value": [4]})", "got 4");
  check_refused(ApmKind::resnet, R"({"tap_blocks": []})", "tap_blocks");
  check_refused(ApmKind::resnet, R"({"tap_blocks": [1025]})", "tap_blocks");
  check_refused(ApmKind::cross, R"({"tap_blocks": [12, 9]})", "three tap_blocks");
  check_refused(ApmKind::resnet, R"({"resnet_blocks": [3, 4, 6]})", "resnet_blocks");
  check_refused(ApmKind::resnet, R"({"resnet_blocks": [3, 4, 6, 65]})", "resnet_blocks");
  check_refused(ApmKind::resnet, R"({"point_scale": 0})", "point_scale");
  check_refused(ApmKind::resnet, R"({"point_scale": 1e7})", "point_scale");
  check_refused(ApmKind::none, R"({"cleaning": {"threshold": 1}})", "threshold");
  check_refused(ApmKind::none, R"({"cleaning": {"close": 8193}})", "close");

  PackConfig config = of_kind(ApmKind::resnet);
  config.tap_blocks.assign(65, 1);
  CHECK_THROWS_WITH_AS(validate(config), doctest::Contains("tap_blocks"), Error);
  for (double scale :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(), -1.0}) {
    config = of_kind(ApmKind::cross);
    config.point_scale = scale;
    CHECK_THROWS_WITH_AS(validate(config), doctest::Contains("point_scale"), Error);
  }
  config = of_kind(ApmKind::none);
  config.mask_token = -1;
  CHECK_THROWS_WITH_AS(validate(config), doctest::Contains("mask_token"), Error);
  config = of_kind(ApmKind::none);
  config.cleaning.min_area = -1;
  CHECK_THROWS_WITH_AS(validate(config), doctest::Contains("min_area"), Error);
}

TEST_CASE("pack config: what does not fit the model is refused") {
  PackConfig config = of_kind(ApmKind::resnet);
  config.tap_blocks = {12, 13};
  check_refused_for("vit_b", config, "13");
  CHECK_NOTHROW(validate(config, published_config("vit_l")));
  config.tap_blocks = {0};
  check_refused_for("vit_b", config, "blocks 1 to 12");
  config.tap_blocks = {3, 2, 1};
  check_refused_for("litemedsam", config, "point_scale 1024");
  config.point_scale = 256;
  CHECK_NOTHROW(validate(config, published_config("litemedsam")));
  config.tap_blocks = {3, 0};
  check_refused_for("litemedsam", config, "stage 0");
  config.tap_blocks = {4};
  check_refused_for("litemedsam", config, "stages 0 to 3");
  config = of_kind(ApmKind::none);
  config.mask_token = 4;
  check_refused_for("vit_b", config, "tokens 0 to 3");
  config = of_kind(ApmKind::cross);
  config.cross_num_heads = 7;
  check_refused_for("vit_b", config, "cross_num_heads 7");
  config = of_kind(ApmKind::cross);
  config.tap_blocks = {3, 2, 1};
  config.cross_num_heads = 10;
  check_refused_for("litemedsam", config, "one width");
}
