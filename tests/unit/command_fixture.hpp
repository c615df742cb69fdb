// Small models and images for tests of the command, and checks of what it says.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "promiseg/io/image_file.hpp"
#include "promiseg/io/json.hpp"
#include "run_command.hpp"
#include "temporary_folder.hpp"

namespace promiseg_test {

/// Config fields of models that take milliseconds: frame 64, grid 8 and 16.
inline constexpr const char* kSmallVit =
    R"({"image_size": 64, "patch_size": 8, "encoder_embed_dim": 32, "encoder_depth": 2,
        "encoder_num_heads": 2, "global_attn_indexes": [1], "window_size": 3,
        "prompt_embed_dim": 32, "decoder_num_heads": 4, "decoder_mlp_dim": 64,
        "iou_head_hidden_dim": 32})";
inline constexpr const char* kSmallTinyVit =
    R"({"image_size": 64, "embed_dims": [16, 32, 40, 320], "depths": [1, 1, 2, 1],
        "num_heads": [1, 2, 4, 10], "window_sizes": [7, 7, 4, 7], "prompt_embed_dim": 32,
        "decoder_num_heads": 4, "decoder_mlp_dim": 64, "iou_head_hidden_dim": 32})";

/// Runs the command, which must do its work, and returns what it printed.
inline std::string run_well(const std::vector<std::string>& arguments,
                            const Environment& environment = {}) {
  const CommandResult result = run_promiseg(arguments, environment);
  CAPTURE(result.err);
  REQUIRE(result.exit_code == 0);
  return result.out;
}

/// Runs the command with `--json`: stdout must be one JSON object and nothing else.
inline promiseg::Json run_json(std::vector<std::string> arguments,
                               const Environment& environment = {}) {
  arguments.emplace_back("--json");
  const promiseg::Json json = promiseg::Json::parse(run_well(arguments, environment));
  REQUIRE(json.is_object());
  return json;
}

/// A failure is one line on stderr that begins with the program's name, and silence on stdout.
inline void check_complaint(const CommandResult& result, int exit_code) {
  CAPTURE(result.err);
  CHECK(result.exit_code == exit_code);
  CHECK(result.out.empty());
  CHECK(result.err.starts_with("promiseg: "));
  CHECK(result.err.size() > std::string_view("promiseg: \n").size());
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  CHECK(result.err.ends_with('\n'));
}

/// The paths of all files in a folder and below.
inline std::set<std::string> files_below(const std::filesystem::path& folder) {
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_directory()) files.insert(entry.path().string());
  }
  return files;
}

/// A folder with a small model and a picture of 60 x 40 pixels (width x height).
class CommandFixture {
 public:
  explicit CommandFixture(const std::string& arch = "vit_b") {
    run_well({"synth", arch, "--seed", "5", "-o", model(), "--config",
              arch == "litemedsam" ? kSmallTinyVit : kSmallVit});
    promiseg::write_png(image(), picture(40, 60));
  }

  std::filesystem::path path() const { return folder_.path(); }
  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }
  std::string model() const { return folder_ / "model.safetensors"; }
  std::string image() const { return folder_ / "picture.png"; }

  /// A bright disc on a shaded ground.
  static promiseg::Image picture(promiseg::Index height, promiseg::Index width) {
    promiseg::Image image({height, width, 1});
    for (promiseg::Index y = 0; y < height; ++y) {
      for (promiseg::Index x = 0; x < width; ++x) {
        const double dx = static_cast<double>(x) / static_cast<double>(width) - 0.4;
        const double dy = static_cast<double>(y) / static_cast<double>(height) - 0.5;
        const bool inside = std::hypot(dx, dy) < 0.25;
        image.view()(y, x, 0) = static_cast<std::uint8_t>(inside ? 200 : 20 + (x * 7 + y * 3) % 60);
      }
    }
    return image;
  }

  /// Segments into the folder `name` and returns the record of the one image.
  promiseg::Json segment(const std::string& name, std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"segment", image(), "--model", model()});
    arguments.insert(arguments.end(), {"-o", folder_ / name});
    const promiseg::Json json = run_json(arguments);
    REQUIRE(json.at("images").as_array().size() == 1);
    return json.at("images").as_array().front();
  }

 private:
  TemporaryFolder folder_;
};

inline promiseg::Image read_mask(const std::filesystem::path& path) {
  return promiseg::to_8bit(promiseg::read_image_file(path));
}

inline std::set<int> values_of(const promiseg::Image& image) {
  return {image.elements().begin(), image.elements().end()};
}

}  // namespace promiseg_test
