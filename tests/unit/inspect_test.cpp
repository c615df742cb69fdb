#include "inspect.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "convert.hpp"
#include "hostile_files.hpp"
#include "promiseg/sam/model_file.hpp"
#include "temporary_folder.hpp"
#include "weight_files.hpp"

using namespace promiseg;
using namespace promiseg::tools;
using namespace promiseg_test;

namespace {

/// A small model file in `folder`.
std::filesystem::path make_model(const TemporaryFolder& folder) {
  ConvertOptions options;
  options.config = Json::parse(R"({"decoder_num_heads": 4})");
  convert_model(sam_tiny(), folder / "model.safetensors", options);
  return folder / "model.safetensors";
}

/// What `verify` says about a model after a change.
template <class Change>
std::vector<std::string> problems_after(const Change& change) {
  const TemporaryFolder folder;
  EditableWeights weights(make_model(folder));
  change(weights);
  weights.write(folder / "changed.safetensors");
  const VerifyReport report = verify(folder / "changed.safetensors");
  CHECK(report.ok() == report.problems.empty());
  return report.problems;
}

bool any_mentions(const std::vector<std::string>& problems, std::string_view text) {
  for (const std::string& problem : problems) CAPTURE(problem);
  return std::any_of(problems.begin(), problems.end(), [&](const std::string& problem) {
    return problem.find(text) != problem.npos;
  });
}

void set_element(EditableWeights& weights, const std::string& name, std::size_t index,
                 float value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  std::copy(
      bytes.begin(), bytes.end(),
      weights.tensors.at(name).bytes.begin() + static_cast<std::ptrdiff_t>(index * sizeof value));
}

}  // namespace

TEST_CASE("a model file is described from its metadata") {
  const TemporaryFolder folder;
  const auto path = make_model(folder);
  const Json json = inspect(path);
  CHECK(json.at("file").as_string() == path.string());
  CHECK(json.at("format").as_string() == "safetensors");
  CHECK(json.at("kind").as_string() == "model");
  CHECK(json.at("bytes").as_integer() ==
        static_cast<std::int64_t>(std::filesystem::file_size(path)));
  CHECK(json.at("config").at("decoder_num_heads").as_integer() == 4);
  CHECK(json.at("source").as_string() == "sam_tiny_weights.pth");
  CHECK(json.at("licence").as_string() == "unknown");
  CHECK(json.at("weights_sha256").as_string().size() == 64);
  CHECK(json.at("tensor_count").as_integer() == 202);
  CHECK(json.at("values").as_integer() == 321452);
  CHECK(json.at("tensor_bytes").as_integer() == 321452 * 4);
  CHECK(json.at("dtypes") == Json(Json::Object{{"F32", 202}}));
  const Json& first = json.at("tensors").as_array().at(0);
  CHECK(first == Json::parse(R"({"name": "image_encoder.blocks.0.attn.proj.bias",
                                 "dtype": "F32", "shape": [64]})"));
}

TEST_CASE("a checkpoint is described from its tensors") {
  const Json json = inspect(sam_tiny());
  CHECK(json.at("format").as_string() == "checkpoint");
  CHECK(json.at("kind").as_string() == "checkpoint");
  CHECK(json.at("config").at("encoder_embed_dim").as_integer() == 64);
  CHECK(json.at("notes").as_array().size() == 1);
  CHECK(json.find("licence") == nullptr);

  const Json other = inspect(test_data("checkpoints/types.pth"));
  CHECK(other.find("config") == nullptr);
  CHECK(other.at("dtypes").as_object().size() > 3);
  CHECK(inspect(test_data("checkpoints/wheel.whl")).at("kind").as_string() == "wheel");
  const Json training = inspect(test_data("checkpoints/training.pth"));
  CHECK_FALSE(training.at("skipped").as_array().empty());
}

TEST_CASE("other safetensors files show their own metadata") {
  const Json json = inspect(test_data("fixtures/vit_small_synth.safetensors"));
  CHECK(json.at("kind").as_string() == "safetensors");
  CHECK(json.at("metadata").at("fixture").as_string() == "vit_small_synth");
  CHECK(json.find("config") == nullptr);

  const TemporaryFolder folder;
  EditableWeights weights(sam_tiny());
  weights.metadata["promiseg"] = R"({"kind": "embedding", "model": "abc", "bytes": 1})";
  weights.write(folder / "embedding");
  const Json embedding = inspect(folder / "embedding");
  CHECK(embedding.at("kind").as_string() == "embedding");
  CHECK(embedding.at("model").as_string() == "abc");
  CHECK(embedding.at("bytes").as_integer() > 1);  // measured, whatever the file says
  weights.metadata["promiseg"] = "not JSON";
  weights.write(folder / "broken");
  CHECK_THROWS_WITH_AS(inspect(folder / "broken"), doctest::Contains("promiseg"), Error);
}

TEST_CASE("the text names config, provenance and every tensor, and no control characters") {
  const TemporaryFolder folder;
  EditableWeights weights(make_model(folder));
  weights.set_zero("odd\x1b[31m", {2, 3}, DType::i64);
  weights.write(folder / "odd.safetensors");
  const std::string text = to_text(inspect(folder / "odd.safetensors"));
  for (const char* part : {"model", "config.encoder_depth", "sam_tiny_weights.pth", "F32", "202",
                           "image_encoder.pos_embed", "[1, 16, 16, 64]", "odd\\x1b[31m"}) {
    CAPTURE(part);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.back() == '\n');
}

TEST_CASE("a sound model verifies") {
  const TemporaryFolder folder;
  const VerifyReport report = verify(make_model(folder));
  CHECK(report.ok());
  CHECK(report.tensors == 202);
  CHECK(report.values == 321452);
  CHECK(to_json(report).at("ok").as_bool());
  CHECK(to_text(report).find("the hash is right") != std::string::npos);

  synth_model(small_tiny_vit_config(), 3, folder / "tiny.safetensors");
  CHECK(verify(folder / "tiny.safetensors").ok());
}

TEST_CASE("a changed value breaks the hash and nothing else") {
  const auto problems = problems_after(
      [](EditableWeights& weights) { set_element(weights, "image_encoder.pos_embed", 5, 1.5F); });
  REQUIRE(problems.size() == 1);
  CHECK(any_mentions(problems, "the weights have the hash"));
}

TEST_CASE("values that are not finite are found and named") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto problems = problems_after([](EditableWeights& weights) {
    set_element(weights, "image_encoder.pos_embed", 77, kNan);
    set_element(weights, "mask_decoder.iou_token.weight", 31, -kInfinity);
    set_element(weights, "mask_decoder.iou_token.weight", 0, 3.4e38F);
    weights.set("image_encoder.neck.1.bias", DType::f16, {32},
                std::vector<std::uint16_t>(32, float_to_half(kNan)));
    weights.set("image_encoder.neck.3.bias", DType::bf16, {32},
                std::vector<std::uint16_t>(32, float_to_bfloat16(kInfinity)));
  });
  CHECK(problems.size() == 5);  // and the hash
  CHECK(any_mentions(problems, "\"image_encoder.pos_embed\": expected finite numbers, element 77"));
  CHECK(any_mentions(problems,
                     "\"mask_decoder.iou_token.weight\": expected finite numbers, "
                     "element 31"));
  CHECK(any_mentions(problems, "image_encoder.neck.1.bias"));
  CHECK(any_mentions(problems, "image_encoder.neck.3.bias"));
}

TEST_CASE("missing, unknown, mis-shaped and integer tensors are problems") {
  const auto problems = problems_after([](EditableWeights& weights) {
    weights.tensors.erase("image_encoder.neck.2.weight");
    weights.set_zero("image_encoder.neck.4.weight", {3});
    weights.set_zero("image_encoder.neck.1.bias", {31});
    weights.set_zero("image_encoder.neck.3.bias", {32}, DType::i64);
  });
  CHECK(problems.size() == 5);  // and the hash
  CHECK(any_mentions(problems, "\"image_encoder.neck.2.weight\" is missing"));
  CHECK(any_mentions(problems, "\"image_encoder.neck.4.weight\" [3] is unknown"));
  CHECK(any_mentions(problems, "\"image_encoder.neck.1.bias\": expected shape [32], got [31]"));
  CHECK(any_mentions(problems, "got I64"));
}

TEST_CASE("what is no model is not verified") {
  CHECK_THROWS_WITH_AS(verify(test_data("fixtures/vit_small_synth.safetensors")),
                       doctest::Contains("does not describe a promiseg model"), Error);
  CHECK_THROWS_AS(verify(sam_tiny()), Error);
  CHECK_THROWS_AS(verify(test_data("absent")), Error);
}

TEST_CASE("damaged files are described, reported or refused") {
  const TemporaryFolder folder;
  const auto model = make_model(folder);
  check_truncations(model, 50021, [](const auto& path) { inspect(path); });
  check_truncations(model, 50021, [](const auto& path) { verify(path); });
  check_flips(model, 20000, 60, [](const auto& path) { to_text(inspect(path)); });
  check_flips(model, 3000, 60, [](const auto& path) { verify(path); });
}
