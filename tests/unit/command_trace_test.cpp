// promiseg trace: which tensors it writes, in which shapes.
#include <doctest/doctest.h>

#include "command_fixture.hpp"
#include "promiseg/io/safetensors.hpp"

using namespace promiseg_test;
using promiseg::Index;
using promiseg::SafetensorsFile;
using promiseg::SafetensorsWriter;
using promiseg::Tensor;

namespace {

using Shapes = std::map<std::string, std::vector<Index>>;

/// Names and shapes of a file; every tensor must be finite float32.
Shapes shapes_of(const SafetensorsFile& file) {
  Shapes shapes;
  for (const auto& [name, entry] : file.tensors()) {
    CAPTURE(name);
    shapes[name] = entry.shape;
    CHECK(entry.dtype == promiseg::DType::f32);
    std::vector<float> values(entry.bytes.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    CHECK(std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }));
  }
  return shapes;
}

/// Runs the verb on the tensors that `writer` holds.
SafetensorsFile trace(const CommandFixture& fixture, const SafetensorsWriter& writer,
                      const std::string& name) {
  const std::string input = fixture / (name + "_input.safetensors");
  const std::string output = fixture / (name + ".safetensors");
  writer.write(input);
  run_well({"trace", "--model", fixture.model(), "--input", input, "-o", output});
  return SafetensorsFile(output);
}

/// Deterministic values around zero.
template <std::size_t Rank>
Tensor<float, Rank> wave(const promiseg::Extents<Rank>& extents) {
  Tensor<float, Rank> tensor(extents);
  for (Index i = 0; i < tensor.size(); ++i) {
    tensor.data()[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
  }
  return tensor;
}

bool same_bytes(const SafetensorsFile& a, const SafetensorsFile& b, const std::string& name) {
  return std::ranges::equal(a.at(name).bytes, b.at(name).bytes);
}

/// What the decoder writes for `batch` prompts of `tokens` tokens: grid `g`, 32 channels.
Shapes decoder_shapes(Index batch, Index tokens, Index g) {
  return {{"embedding", {1, 32, g, g}},
          {"dense_pe", {1, 32, g, g}},
          {"sparse", {batch, tokens, 32}},
          {"dense", {batch, 32, g, g}},
          {"low_res_logits", {batch, 1, 4 * g, 4 * g}},
          {"iou", {batch, 1}},
          {"low_res_logits_multi", {batch, 3, 4 * g, 4 * g}},
          {"iou_multi", {batch, 3}}};
}

}  // namespace

TEST_CASE("trace: a ViT") {
  const CommandFixture fixture;
  SafetensorsWriter writer;
  writer.adopt("image", wave<4>({1, 3, 64, 64}).view());
  Shapes encoder = {{"patch_embed", {1, 8, 8, 32}},
                    {"block.0", {1, 8, 8, 32}},
                    {"block.1", {1, 8, 8, 32}},
                    {"tap.1", {1, 32, 8, 8}},
                    {"tap.2", {1, 32, 8, 8}}};

  SUBCASE("without prompts") {
    const SafetensorsFile result = trace(fixture, writer, "plain");
    Shapes expected = decoder_shapes(1, 0, 8);
    expected.merge(encoder);
    CHECK(shapes_of(result) == expected);
    // A tap is its block, channels first.
    const auto block = result.view<float, 4>("block.1");
    const auto tap = result.view<float, 4>("tap.2");
    CHECK(block(0, 3, 5, 7) == tap(0, 7, 3, 5));
  }
  SUBCASE("points") {
    writer.adopt("point_coords", wave<3>({2, 3, 2}).view());
    writer.adopt("point_labels", Tensor<std::int64_t, 2>({2, 3}).view());
    Shapes expected = decoder_shapes(2, 4, 8);  // with the padding point
    expected.merge(encoder);
    CHECK(shapes_of(trace(fixture, writer, "points")) == expected);
  }
  SUBCASE("points, boxes and masks") {
    writer.adopt("point_coords", wave<3>({2, 3, 2}).view());
    writer.adopt("point_labels", Tensor<std::int64_t, 2>({2, 3}).view());
    writer.adopt("boxes", wave<2>({2, 4}).view());
    writer.adopt("mask_inputs", wave<4>({2, 1, 32, 32}).view());
    Shapes expected = decoder_shapes(2, 5, 8);
    expected.merge(encoder);
    CHECK(shapes_of(trace(fixture, writer, "all")) == expected);
  }
}

TEST_CASE("trace: a TinyViT") {
  const CommandFixture fixture("litemedsam");
  SafetensorsWriter writer;
  writer.adopt("image", wave<4>({1, 3, 64, 64}).view());
  writer.adopt("boxes", wave<2>({3, 4}).view());
  const SafetensorsFile result = trace(fixture, writer, "tiny");
  Shapes expected = decoder_shapes(3, 2, 16);
  expected.merge(Shapes{{"patch_embed", {1, 16, 64, 64}},
                        {"stage.0", {1, 32 * 32, 32}},
                        {"stage.1", {1, 16 * 16, 40}},
                        {"stage.2", {1, 16 * 16, 320}},
                        {"stage.3", {1, 16 * 16, 320}},
                        {"tap.0", {1, 32, 32, 32}},
                        {"tap.1", {1, 40, 16, 16}},
                        {"tap.2", {1, 320, 16, 16}},
                        {"tap.3", {1, 320, 16, 16}}});
  CHECK(shapes_of(result) == expected);
  const auto stage = result.view<float, 3>("stage.1");
  const auto tap = result.view<float, 4>("tap.1");
  CHECK(stage(0, 3 * 16 + 5, 7) == tap(0, 7, 3, 5));
}

TEST_CASE("trace: starting at a given embedding") {
  const CommandFixture fixture;
  SafetensorsWriter from_image;
  from_image.adopt("image", wave<4>({1, 3, 64, 64}).view());
  from_image.adopt("boxes", wave<2>({1, 4}).view());
  const SafetensorsFile whole = trace(fixture, from_image, "whole");
  SafetensorsWriter from_embedding;
  from_embedding.add("embedding", whole.at("embedding"));
  from_embedding.adopt("boxes", wave<2>({1, 4}).view());
  const SafetensorsFile part = trace(fixture, from_embedding, "part");
  CHECK(shapes_of(part) == decoder_shapes(1, 2, 8));
  for (const char* name : {"embedding", "sparse", "dense", "low_res_logits", "iou"}) {
    CHECK_MESSAGE(same_bytes(whole, part, name), name);
  }
}

TEST_CASE("trace: pixels go through the model's preprocessing") {
  const CommandFixture fixture;
  const auto grey = CommandFixture::picture(64, 48);
  SafetensorsWriter pixels;
  pixels.adopt("pixels", grey.view().broadcast_to({64, 48, 3}));
  const SafetensorsFile from_pixels = trace(fixture, pixels, "pixels");

  // The frame has the picture's longer side, so nothing is resized: mean, deviation and padding.
  Tensor<float, 4> input({1, 3, 64, 64});
  constexpr float kMean[] = {123.675F, 116.28F, 103.53F};
  constexpr float kDeviation[] = {58.395F, 57.12F, 57.375F};
  for (Index c = 0; c < 3; ++c) {
    for (Index y = 0; y < 64; ++y) {
      for (Index x = 0; x < 48; ++x) {
        input.view()(0, c, y, x) =
            (static_cast<float>(grey.view()(y, x, 0)) - kMean[c]) / kDeviation[c];
      }
    }
  }
  SafetensorsWriter image;
  image.adopt("image", input.view());
  const SafetensorsFile from_image = trace(fixture, image, "image");
  CHECK(same_bytes(from_pixels, from_image, "patch_embed"));
  CHECK(same_bytes(from_pixels, from_image, "low_res_logits"));
}

TEST_CASE("trace: wrong inputs") {
  const CommandFixture fixture;
  const auto refuse = [&](const SafetensorsWriter& writer, const std::string& expected) {
    const std::string input = fixture / "bad_input.safetensors";
    const std::string output = fixture / "bad_output.safetensors";
    writer.write(input);
    const CommandResult result =
        run_promiseg({"trace", "--model", fixture.model(), "--input", input, "-o", output});
    check_complaint(result, 1);
    CHECK(result.err.find(expected) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(output));
  };
  refuse({}, "embedding");
  SafetensorsWriter wrong_size;
  wrong_size.adopt("image", wave<4>({1, 3, 32, 32}).view());
  refuse(wrong_size, "image");
  SafetensorsWriter wrong_type;
  wrong_type.adopt("pixels", wave<3>({4, 4, 3}).view());
  refuse(wrong_type, "pixels");
  SafetensorsWriter two_batches;
  two_batches.adopt("image", wave<4>({1, 3, 64, 64}).view());
  two_batches.adopt("boxes", wave<2>({2, 4}).view());
  two_batches.adopt("mask_inputs", wave<4>({1, 1, 32, 32}).view());
  refuse(two_batches, "mask_inputs");
  SafetensorsWriter wrong_mask;
  wrong_mask.adopt("image", wave<4>({1, 3, 64, 64}).view());
  wrong_mask.adopt("mask_inputs", wave<4>({1, 1, 31, 32}).view());
  refuse(wrong_mask, "mask");
  SafetensorsWriter wrong_embedding;
  wrong_embedding.adopt("embedding", wave<4>({1, 32, 8, 9}).view());
  refuse(wrong_embedding, "embedding");
  SafetensorsWriter wrong_label;
  wrong_label.adopt("image", wave<4>({1, 3, 64, 64}).view());
  wrong_label.adopt("point_coords", wave<3>({1, 1, 2}).view());
  Tensor<std::int64_t, 2> label({1, 1});
  label.data()[0] = 9;
  wrong_label.adopt("point_labels", label.view());
  refuse(wrong_label, "label");
}
