// ProMISe's checkpoints: a model and a pack from one file.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "convert.hpp"
#include "find_pack_config.hpp"
#include "hostile_files.hpp"
#include "inspect.hpp"
#include "promiseg/adapt/pack_file.hpp"
#include "sort_tensors.hpp"
#include "temporary_folder.hpp"
#include "weight_files.hpp"

using namespace promiseg;
using namespace promiseg::tools;
using namespace promiseg_test;

namespace {

std::filesystem::path promise_ips() { return test_data("checkpoints/promise_ips.pth"); }

/// Shapes of a pack's tensors, without values.
TensorEntries shapes_of(const PackConfig& config, const ModelConfig& model) {
  TensorEntries entries;
  for (const TensorSpec& spec : pack_tensor_specs(config, model)) {
    entries[spec.name] = {DType::f32, spec.shape, {}};
  }
  return entries;
}

FoundPackConfig find(const TensorEntries& entries, const ModelConfig& model,
                     const std::optional<Json>& overrides = std::nullopt) {
  return find_pack_config(entries, model, overrides, "file");
}

bool any_mentions(const std::vector<std::string>& notes, std::string_view text) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const std::string& note) { return note.find(text) != note.npos; });
}

bool mentions(const Error& error, std::string_view text) {
  CAPTURE(error.what());
  return std::string_view(error.what()).find(text) != std::string_view::npos;
}

/// A folder with a model of `promise_ips_config`; outputs that may be written are `model` and
/// `pack`.
class Workplace {
 public:
  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }
  std::filesystem::path model() const { return folder_ / "model.safetensors"; }
  std::filesystem::path pack() const { return folder_ / "pack.safetensors"; }

  ConvertReport convert(const std::filesystem::path& input, ConvertOptions options = {}) const {
    options.pack_output = pack();
    return convert_model(input, model(), options);
  }

  ConvertReport convert(const EditableWeights& weights, const ConvertOptions& options = {}) const {
    weights.write(input());
    return convert(input(), options);
  }

  /// The error of converting `weights`; nothing may have been written.
  Error error(const EditableWeights& weights, const ConvertOptions& options = {}) const {
    weights.write(input());
    try {
      convert(input(), options);
    } catch (const Error& error) {
      CHECK(only_input());
      return error;
    }
    FAIL("no error");
    return {ErrorCode::io, ""};
  }

 private:
  std::filesystem::path input() const { return folder_ / "in.safetensors"; }

  bool only_input() const {
    const std::filesystem::directory_iterator files(folder_.path());
    return std::all_of(begin(files), end(files),
                       [&](const auto& file) { return file.path() == input(); });
  }

  TemporaryFolder folder_;
};

/// A whole checkpoint of the small SAM with IPS, under the newer names.
EditableWeights small_promise() {
  EditableWeights weights(promise_ips_config());
  weights.add_pack(small_ips_config(), promise_ips_config());
  return weights;
}

ConvertOptions pack_fields(const char* json) {
  ConvertOptions options;
  options.pack_config = Json::parse(json);
  return options;
}

}  // namespace

TEST_CASE("packs of the paper are found from shapes alone") {
  for (const char* kind : {"promise_resnet34", "promise_resnet18", "promise_cross"}) {
    for (const char* arch : {"vit_b", "vit_l", "vit_h", "litemedsam"}) {
      CAPTURE(kind);
      CAPTURE(arch);
      const ModelConfig model = published_config(arch);
      PackConfig config = published_pack_config(kind, model);
      const bool cross = config.apm == ApmKind::cross;
      if (cross && (model.encoder == EncoderKind::tiny_vit || model.encoder_embed_dim % 12 != 0)) {
        continue;  // below
      }
      if (std::string_view(arch) == "vit_l") config.tap_blocks = {24, 18, 12};
      if (std::string_view(arch) == "vit_h") config.tap_blocks = {32, 24, 16};
      const FoundPackConfig found = find(shapes_of(config, model), model);
      CHECK(found.config == config);
      CHECK(found.labels_assumed);
      CHECK(any_mentions(found.notes, "point_value: first 8 object, then 8 background points"));
      CHECK(any_mentions(found.notes, "point_scale " + std::to_string(model.image_size)));
      CHECK(any_mentions(found.notes, "mask_token"));
      CHECK(any_mentions(found.notes, "tap_blocks"));
      CHECK(any_mentions(found.notes, "fractions") == (model.encoder_depth != 12));
      CHECK(any_mentions(found.notes, "cross_num_heads 12") == cross);
    }
  }
}

TEST_CASE("every field that shapes tell is found in an unusual pack") {
  const ModelConfig model = published_config("vit_b");
  PackConfig config;
  config.apm = ApmKind::resnet;
  config.resnet_blocks = {1, 11, 2, 1};
  config.point_num = 5;
  config.point_value = {1, 1, 1, 0, 0};
  for (const std::vector<Index>& taps :
       {std::vector<Index>{12}, {12, 9}, {12, 9, 6}, {12, 9, 6, 3}}) {
    config.tap_blocks = taps;
    CHECK(find(shapes_of(config, model), model).config == config);
  }
  PackConfig cross;
  cross.apm = ApmKind::cross;
  cross.ips = true;
  cross.ips_hidden_dim = 40;
  cross.cross_num_layers = 2;
  cross.point_num = 1;
  cross.point_value = {1};
  CHECK(find(shapes_of(cross, model), model).config == cross);

  ModelConfig small = promise_ips_config();  // a depth of 2 has only two of the four fractions
  config.tap_blocks = {2, 1};
  config.point_scale = 64;
  CHECK(find(shapes_of(config, small), small).config == config);
}

TEST_CASE("what was found is said in words") {
  const ModelConfig model = published_config("vit_b");
  const auto words = [&](const char* kind) {
    const auto found = find(shapes_of(published_pack_config(kind, model), model), model);
    return describe_pack(found.config, found.labels_assumed);
  };
  CHECK(words("promise_resnet34") ==
        "APM ResNet-34, taps 12, 9, 6, 16 points (8 object, 8 background; assumed), IPS hidden "
        "1024");
  CHECK(words("promise_resnet18").starts_with("APM ResNet-18, taps"));
  CHECK(words("promise_cross").starts_with("APM cross attention of 3 layers, taps 12, 9, 6, 16"));
  PackConfig box;
  box.apm = ApmKind::resnet;
  box.point_num = 2;
  box.point_value = {2, 3};
  box.resnet_blocks = {1, 1, 1, 1};
  CHECK(describe_pack(box) ==
        "APM ResNet of 1, 1, 1, 1 blocks, taps 12, 9, 6, 2 points (1 first box corner, 1 second "
        "box corner)");
  CHECK(describe_pack(small_ips_config()) == "IPS hidden 8");
}

TEST_CASE("fields of the config win over what is assumed, not over what is known") {
  const ModelConfig model = published_config("vit_b");
  const TensorEntries entries = shapes_of(published_pack_config("promise_resnet34", model), model);
  const Json fields = Json::parse(
      R"({"tap_blocks": [11, 8, 5], "point_value": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1],
          "point_scale": 512, "mask_token": 0, "point_num": 16, "label": "polyp"})");
  const FoundPackConfig found = find(entries, model, fields);
  CHECK(found.config.tap_blocks == std::vector<Index>{11, 8, 5});
  CHECK(found.config.point_value.back() == 1);
  CHECK(found.config.point_scale == 512.0);
  CHECK(found.config.mask_token == 0);
  CHECK(found.config.label == "polyp");
  CHECK(found.notes.empty());
  CHECK_FALSE(found.labels_assumed);
  const auto refused = [&](const char* json, const char* expected) {
    CHECK_THROWS_WITH_AS(find(entries, model, Json::parse(json)), doctest::Contains(expected),
                         Error);
  };
  refused(R"({"point_num": 8})", "made for 16 points");
  refused(R"({"point_value": [1, 0]})", "point_value has 2");
  refused(R"({"cross_num_heads": 12})", "cross_num_heads");
  refused(R"({"tap_blocks": [13, 9, 6]})", "13");
  refused(R"({"apm": "foo"})", "foo");
}

TEST_CASE("a pack whose shapes tell nothing sensible is refused by tensor") {
  const ModelConfig model = published_config("vit_b");
  const TensorEntries resnet = shapes_of(published_pack_config("promise_resnet18", model), model);
  const TensorEntries cross = shapes_of(published_pack_config("promise_cross", model), model);
  const auto refused = [&](TensorEntries entries, const std::string& name,
                           const std::vector<Index>& shape, const char* expected) {
    CAPTURE(name);
    if (shape.empty()) {
      entries.erase(name);
    } else {
      entries[name].shape = shape;
    }
    CHECK_THROWS_WITH_AS(find(entries, model), doctest::Contains(expected), Error);
  };
  refused(resnet, "apm_resnet.fc.weight", {}, "\"apm_resnet.fc.weight\" is missing");
  refused(resnet, "apm_resnet.fc.weight", {31, 512}, "even number of rows");
  refused(resnet, "apm_resnet.fc.weight", {Index{1} << 30, 512}, "4096 points");
  refused(resnet, "apm_resnet.fc.weight", {0, 512}, "none of them empty");
  refused(resnet, "apm_feature_map.fusion_conv1.weight", {256, 1000, 3, 3}, "768, 1536, 2304");
  refused(resnet, "apm_feature_map.fusion_conv1.weight", {}, "is missing");
  refused(resnet, "ips_ffn.lin1.weight", {8}, "2 axes");
  refused(resnet, "ips_ffn.lin1.weight", {70000, 256}, "ips_hidden_dim");
  refused(resnet, "apm_resnet.layer1.999999.x", {1}, "at most 4096");
  refused(resnet, "apm_resnet.layer1.70.x", {1}, "resnet_blocks");
  refused(resnet, "apm_cross_prompt.weight", {2, 768}, "tensors of both");
  refused(cross, "apm_cross.query_feat.weight", {}, "\"apm_cross.query_feat.weight\" is missing");
  refused(cross, "apm_cross.query_feat.weight", {16, 780}, "768 columns");
  refused(cross, "apm_cross.query_feat.weight", {16, 64}, "cross_num_heads");
  refused(cross, "apm_cross.layers.3.norm1.weight", {768}, "found 4");
  CHECK_THROWS_WITH_AS(find({}, model), doctest::Contains("ProMISe's modules"), Error);
  TensorEntries bare = resnet;
  std::erase_if(bare,
                [](const auto& item) { return item.first.starts_with("apm_resnet.layer3."); });
  CHECK_THROWS_WITH_AS(find(bare, model),
                       doctest::Contains("\"apm_resnet.layer3.0.conv1.weight\" is missing"), Error);
}

TEST_CASE("attention over features of unlike or unusual width needs to be told") {
  const ModelConfig lite = published_config("litemedsam");
  PackConfig config = published_pack_config("promise_cross", lite);
  config.tap_blocks = {3, 2, 2};
  config.cross_num_heads = 10;
  const TensorEntries entries = shapes_of(config, lite);
  CHECK_THROWS_WITH_AS(find(entries, lite), doctest::Contains("cross_num_heads"), Error);
  CHECK_THROWS_WITH_AS(find(entries, lite, Json::parse(R"({"cross_num_heads": 10})")),
                       doctest::Contains("tap_blocks"), Error);
  const Json fields = Json::parse(R"({"cross_num_heads": 10, "tap_blocks": [3, 2, 2]})");
  CHECK(find(entries, lite, fields).config == config);
}

TEST_CASE("a checkpoint of torch.save with IPS under its older names") {
  const Workplace work;
  const ConvertReport report = work.convert(promise_ips());
  REQUIRE(report.model.has_value());
  REQUIRE(report.pack.has_value());
  CHECK(report.model->config == promise_ips_config());
  CHECK(report.pack->config == small_ips_config());
  CHECK(report.pack->summary == "IPS hidden 8");
  CHECK(report.skipped == std::vector<std::string>{"epoch"});

  // The same values as the rule gives for the newer names.
  const SynthReport model = synth_model(promise_ips_config(), 7, work / "synth.safetensors");
  const SynthReport pack = synth_pack(small_ips_config(), ModelFile(work / "synth.safetensors"), 7,
                                      work / "synth_pack.safetensors");
  CHECK(report.model->weights_sha256 == model.weights_sha256);
  CHECK(report.pack->weights_sha256 == pack.weights_sha256);

  const PackFile file(work.pack());
  CHECK(file.config() == small_ips_config());
  CHECK(file.provenance().model_sha256 == model.weights_sha256);
  CHECK(file.provenance().model_name == "vit (promise_ips.pth)");
  CHECK(file.provenance().source == "promise_ips.pth");
  CHECK(file.provenance().licence == "unknown");
  CHECK(file.provenance().training.is_null());
  CHECK(verify(work.model()).ok());
  CHECK(verify(work.pack(), work.model()).ok());

  const Json json = to_json(report);
  CHECK(json.at("weights_sha256").as_string() == model.weights_sha256);
  CHECK(json.at("pack").at("weights_sha256").as_string() == pack.weights_sha256);
  CHECK(json.at("pack").at("summary").as_string() == "IPS hidden 8");
  CHECK(to_text(report).find("IPS hidden 8") != std::string::npos);
}

TEST_CASE("a whole checkpoint with APM and IPS becomes a model and a pack") {
  const Workplace work;
  const ModelConfig model = promise_ips_config();
  PackConfig config = small_ips_config();
  config.apm = ApmKind::resnet;
  config.tap_blocks = {2, 1};
  config.resnet_blocks = {1, 1, 1, 1};
  config.point_num = 3;
  config.point_value = {1, 1, 0};
  config.point_scale = 64;
  EditableWeights weights(model);
  weights.add_pack(config, model);
  weights.set_zero("apm_resnet.bn1.num_batches_tracked", {}, DType::i64);
  weights.set_zero("pixel_mean", {3, 1, 1});
  const auto fc2 = weights.tensors.at("apm_resnet.fc2.bias").bytes;
  const ConvertReport report = work.convert(weights);
  CHECK(report.pack->config == config);
  CHECK(report.model->tensors + report.pack->tensors + 2 == weights.tensors.size());
  const PackFile pack(work.pack());
  CHECK(std::ranges::equal(pack.file().at("apm_resnet.fc2.bias").bytes, fc2));
  CHECK_FALSE(pack.file().contains("apm_resnet.bn1.num_batches_tracked"));
  CHECK(verify(work.pack(), work.model()).ok());

  // Without what nothing uses.
  weights.tensors.erase("apm_resnet.fc2.weight");
  weights.tensors.erase("apm_resnet.fc2.bias");
  CHECK(work.convert(weights).pack->tensors + 2 == report.pack->tensors);
  CHECK(verify(work.pack(), work.model()).ok());
}

TEST_CASE("attention weights make a pack, half precision becomes float32") {
  const Workplace work;
  ModelConfig model = promise_ips_config();
  model.encoder_embed_dim = 24;
  model.encoder_depth = 4;
  PackConfig config;
  config.apm = ApmKind::cross;
  config.tap_blocks = {4, 3, 2};
  config.point_num = 4;
  config.point_value = {1, 1, 0, 0};
  config.point_scale = 64;
  EditableWeights weights(model);
  weights.add_pack(config, model);
  weights.set("apm_cross.layers.2.norm3.bias", DType::f16, {24},
              std::vector<std::uint16_t>(24, float_to_half(0.25F)));
  weights.tensors.erase("apm_cross.layers.0.norm2.bias");
  const ConvertReport report = work.convert(weights);
  CHECK(report.pack->config == config);
  const PackFile pack(work.pack());
  CHECK(pack.file().view<float, 1>("apm_cross.layers.2.norm3.bias")(23) == 0.25F);
  CHECK(verify(work.pack(), work.model()).ok());
}

TEST_CASE("without a place for the pack the model is written and a note says so") {
  const Workplace work;
  const ConvertReport report = convert_model(promise_ips(), work.model());
  CHECK_FALSE(report.pack.has_value());
  CHECK(any_mentions(report.notes, "4 tensors of ProMISe's modules"));
  CHECK(any_mentions(report.notes, "--pack-out"));
  CHECK(verify(work.model()).ok());
  CHECK_FALSE(to_json(report).find("pack") != nullptr);
  CHECK_THROWS_WITH_AS(
      convert_model(promise_ips(), work.model(), pack_fields(R"({"mask_token": 0})")),
      doctest::Contains("no pack"), Error);
}

TEST_CASE("nothing to put into a pack is an error, and nothing is written") {
  const Workplace work;
  const Error error = work.error(EditableWeights(promise_ips_config()));
  CHECK(error.code() == ErrorCode::bad_weights);
  CHECK(mentions(error, "found none"));
}

TEST_CASE("what is wrong with the pack's tensors stops the model as well") {
  const Workplace work;
  EditableWeights weights = small_promise();
  weights.tensors.erase("ips_ffn.lin2.bias");
  weights.set_zero("ips_ffn.lin1.bias", {9});
  weights.set_zero("ips_ffn.lin3.bias", {9});
  weights.set_zero("ips_ffn.lin1.weight", {8, 32}, DType::i32);
  const Error error = work.error(weights);
  CHECK(error.code() == ErrorCode::bad_weights);
  CHECK(mentions(error, "\"ips_ffn.lin2.bias\" is missing: expected [128]"));
  CHECK(mentions(error, "\"ips_ffn.lin1.bias\": expected shape [8], got [9]"));
  CHECK(mentions(error, "\"ips_ffn.lin3.bias\" [9] is unknown"));
  CHECK(mentions(error, "\"ips_ffn.lin1.weight\": expected floating-point numbers, got I32"));
  CHECK(mentions(error, "vit (in.safetensors)"));

  weights = small_promise();
  weights.set_zero("image_encoder.extra", {1});
  CHECK(mentions(work.error(weights), "\"image_encoder.extra\""));
  weights = small_promise();
  weights.tensors["ffn.lin1.bias"] = weights.tensors.at("ips_ffn.lin1.bias");
  CHECK(mentions(work.error(weights), "\"ips_ffn.lin1.bias\" is there twice"));
  CHECK(mentions(work.error(small_promise(), pack_fields(R"({"mask_token": 4})")), "mask_token 4"));
}

TEST_CASE("modules without a SAM make a pack for a model that is there") {
  const Workplace work;
  synth_model(promise_ips_config(), 7, work.model());
  EditableWeights modules(promise_ips());
  std::erase_if(modules.tensors, [](const auto& item) { return !is_adapter_tensor(item.first); });
  modules.write(work / "modules.safetensors");
  ConvertOptions options = pack_fields(R"({"own_prompt": "image"})");
  options.licence = "CC0-1.0";
  const ConvertReport report =
      convert_pack(work / "modules.safetensors", work.pack(), work.model(), options);
  CHECK_FALSE(report.model.has_value());
  CHECK(to_json(report).find("config") == nullptr);
  const PackFile pack(work.pack());
  CHECK(pack.config().own_prompt == OwnPrompt::image);
  CHECK(pack.provenance().licence == "CC0-1.0");
  CHECK(pack.provenance().model_name == "vit (synth:vit:7)");
  CHECK(pack.provenance().model_sha256 == ModelFile(work.model()).provenance().weights_sha256);
  CHECK(verify(work.pack(), work.model()).ok());

  // As a model they are none, and the message says what to do.
  CHECK_THROWS_WITH_AS(convert_model(work / "modules.safetensors", work / "new.safetensors"),
                       doctest::Contains("--for"), Error);
  CHECK_FALSE(std::filesystem::exists(work / "new.safetensors"));

  modules.set_zero("other.weight", {1});
  modules.write(work / "odd.safetensors");
  CHECK_THROWS_WITH_AS(convert_pack(work / "odd.safetensors", work.pack(), work.model()),
                       doctest::Contains("\"other.weight\" is unknown"), Error);
}

TEST_CASE("a SAM beside the modules must be the model's own") {
  const Workplace work;
  synth_model(promise_ips_config(), 7, work.model());
  CHECK(convert_pack(promise_ips(), work.pack(), work.model()).pack.has_value());
  const std::vector<char> before = read_bytes(work.pack());

  synth_model(promise_ips_config(), 8, work / "other.safetensors");
  CHECK_THROWS_WITH_AS(convert_pack(promise_ips(), work.pack(), work / "other.safetensors"),
                       doctest::Contains("vit (synth:vit:8)"), Error);
  ModelConfig wide = promise_ips_config();
  wide.decoder_mlp_dim = 72;
  synth_model(wide, 7, work / "wide.safetensors");
  CHECK_THROWS_WITH_AS(convert_pack(promise_ips(), work.pack(), work / "wide.safetensors"),
                       doctest::Contains("mlp.lin1.weight"), Error);
  CHECK_THROWS_AS(convert_pack(promise_ips(), work.pack(), sam_tiny()), Error);
  CHECK_THROWS_AS(convert_pack(work.model(), work.pack(), work.model()), Error);

  ConvertOptions options;
  options.config = Json::parse(R"({"mask_threshold": 1})");
  CHECK_THROWS_AS(convert_pack(promise_ips(), work.pack(), work.model(), options), Error);
  CHECK(read_bytes(work.pack()) == before);
}

TEST_CASE("outputs must not replace an input or each other") {
  const Workplace work;
  const auto input = work / "in.safetensors";
  small_promise().write(input);
  const std::vector<char> before = read_bytes(input);
  const auto refused = [&](const std::filesystem::path& model, const std::filesystem::path& pack) {
    ConvertOptions options;
    options.pack_output = pack;
    CHECK_THROWS_WITH_AS(convert_model(input, model, options), doctest::Contains("would replace"),
                         Error);
  };
  refused(work.model(), input);
  refused(work.model(), work.model());
  refused(work / "model.safetensors", work / "./model.safetensors");
  std::filesystem::create_symlink(input, work / "link");
  refused(work.model(), work / "link");
  CHECK_FALSE(std::filesystem::exists(work.model()));
  synth_model(promise_ips_config(), 5, work / "theirs.safetensors");
  CHECK_THROWS_WITH_AS(
      convert_pack(input, work / "theirs.safetensors", work / "theirs.safetensors"),
      doctest::Contains("would replace the model"), Error);
  CHECK(read_bytes(input) == before);
}

TEST_CASE("if the pack cannot be written, the model is not either") {
  const Workplace work;
  const auto input = work / "in.safetensors";
  small_promise().write(input);
  ConvertOptions options;
  options.pack_output = work / "absent/pack.safetensors";
  CHECK_THROWS_WITH_AS(convert_model(input, work.model(), options),
                       doctest::Contains("does not exist"), Error);
  // A place that only the opening finds out about: the name is legal, the unfinished file's is not.
  options.pack_output = work / std::string(250, 'p');
  write_bytes(work.model(), std::string("an older file"));
  CHECK_THROWS_AS(convert_model(input, work.model(), options), Error);
  const std::vector<char> after = read_bytes(work.model());
  CHECK(std::string(after.begin(), after.end()) == "an older file");
  for (const auto& entry : std::filesystem::directory_iterator(work / ".")) {
    CHECK(entry.path().string().find(".partial") == std::string::npos);
  }
}

TEST_CASE("a whole checkpoint is described with its modules") {
  const Json json = inspect(promise_ips());
  CHECK(json.at("adapter_tensors").as_integer() == 4);
  CHECK(json.at("config").at("encoder_embed_dim").as_integer() == 16);
  CHECK(json.at("pack_config").at("ips_hidden_dim").as_integer() == 8);
  CHECK(json.at("summary").as_string() == "IPS hidden 8");
  CHECK(inspect(sam_tiny()).find("adapter_tensors") == nullptr);
}

TEST_CASE("fields of a config object are sorted by whose they are") {
  const SortedConfig sorted = sort_config(Json::parse(
      R"({"decoder_num_heads": 4, "mask_token": 0, "depths": [1], "tap_blocks": [2]})"));
  CHECK(sorted.model == Json::parse(R"({"decoder_num_heads": 4, "depths": [1]})"));
  CHECK(sorted.pack == Json::parse(R"({"mask_token": 0, "tap_blocks": [2]})"));
  CHECK(sort_config(Json(Json::Object{})).model.is_null());
  CHECK(sort_config(Json::parse(R"({"mask_token": 0})")).model.is_null());
  CHECK_THROWS_WITH_AS(sort_config(Json::parse(R"({"mask_tokens": 0})")),
                       doctest::Contains("mask_tokens"), Error);
  CHECK_THROWS_AS(sort_config(Json::parse("[4]")), Error);
}

TEST_CASE("truncated and damaged checkpoints with a pack") {
  const Workplace work;
  const auto convert = [&](const std::filesystem::path& input) { work.convert(input); };
  std::filesystem::copy(promise_ips(), work / "in.pth");
  check_truncations(work / "in.pth", 30011, convert);
  check_flips(work / "in.pth", 20000, 40, convert);
  small_promise().write(work / "in.safetensors");
  check_truncations(work / "in.safetensors", 30011, convert);
  check_flips(work / "in.safetensors", 20000, 60, convert);
}
