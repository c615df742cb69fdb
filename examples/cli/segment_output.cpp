#include "segment_output.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "overlay.hpp"
#include "promiseg/io/file.hpp"
#include "promiseg/io/png_file.hpp"

namespace promiseg::cli {
namespace {

/// 0 and 255 for one object; for several the object's number, the later over the earlier.
Mask combined_mask(const SegmentResult& result) {
  Mask combined({result.image.extent(0), result.image.extent(1)});
  for (std::size_t i = 0; i < result.predictions.size(); ++i) {
    const Prediction& prediction = result.predictions[i];
    const Mask& mask = prediction.masks[prediction.best()];
    const auto value = static_cast<std::uint8_t>(result.predictions.size() == 1 ? 255 : i + 1);
    for (std::size_t pixel = 0; pixel < mask.elements().size(); ++pixel) {
      if (mask.elements()[pixel] != 0) combined.elements()[pixel] = value;
    }
  }
  return combined;
}

/// The prompt's box, or the one that a pair of corner points makes.
std::optional<BoxPrompt> drawn_box(const Prompt& prompt) {
  if (prompt.box.has_value()) return prompt.box;
  const auto corner = [&](int label) {
    return std::find_if(prompt.points.begin(), prompt.points.end(),
                        [=](const PointPrompt& point) { return point.label == label; });
  };
  const auto first = corner(2);
  const auto second = corner(3);
  if (first == prompt.points.end() || second == prompt.points.end()) return std::nullopt;
  return BoxPrompt{std::min(first->x, second->x), std::min(first->y, second->y),
                   std::max(first->x, second->x), std::max(first->y, second->y)};
}

Image overlay(const SegmentResult& result) {
  std::vector<OverlayObject> drawn;
  for (std::size_t i = 0; i < result.objects.size(); ++i) {
    const auto& [label, pack, prompt] = result.objects[i];
    const Prediction& prediction = result.predictions[i];
    OverlayObject& object = drawn.emplace_back();
    object.label = label;
    object.mask = prediction.masks[prediction.best()].view();
    object.score = double{prediction.scores[prediction.best()]};
    for (const PointPrompt& point : prompt.points) {
      object.points.push_back({double{point.x}, double{point.y}, point.label});
    }
    if (const std::optional<BoxPrompt> box = drawn_box(prompt)) {
      object.box = {box->x0, box->y0, box->x1, box->y1};
    }
  }
  return draw_overlay(result.image, drawn);
}

Json record(const SegmentResult& result) {
  const auto size = [](ImageSize side) {
    return Json::array(std::array<std::int64_t, 2>{side.height, side.width});
  };
  Json::Array objects;
  for (std::size_t i = 0; i < result.objects.size(); ++i) {
    const Prediction& prediction = result.predictions[i];
    const Mask& mask = prediction.masks[prediction.best()];
    std::int64_t area = 0;
    for (std::uint8_t pixel : mask.elements()) area += pixel != 0 ? 1 : 0;
    Json object = to_json(result.objects[i]);
    object.set("score", double{prediction.scores[prediction.best()]});
    object.set("area_pixels", area);
    if (prediction.scores.size() > 1) {
      object.set("candidate_scores", Json::array(std::vector<double>(prediction.scores.begin(),
                                                                     prediction.scores.end())));
      object.set("chosen_candidate", static_cast<std::int64_t>(prediction.best()));
    }
    objects.push_back(std::move(object));
  }
  Json times;
  for (const auto& [name, value] : result.times_ms) times.set(name, value);
  Json json;
  json.set("image", to_string(result.reference));
  json.set("objects", std::move(objects));
  json.set("geometry",
           Json::Object{{"original_size", size(result.geometry.original)},
                        {"resized_size", size(result.geometry.resized)},
                        {"frame_size", static_cast<std::int64_t>(result.geometry.frame_size)}});
  json.set("precision", result.precision);
  json.set("times_ms", std::move(times));
  return json;
}

}  // namespace

std::filesystem::path result_path(const std::filesystem::path& folder, const ImageReference& image,
                                  const std::string& ending) {
  return folder / (image_stem(image) + ending);
}

Json write_results(const SegmentResult& result, const std::filesystem::path& folder) {
  const auto mask_path = result_path(folder, result.reference, "_mask.png");
  const auto overlay_path = result_path(folder, result.reference, "_overlay.png");
  const auto json_path = result_path(folder, result.reference, ".json");
  Json json = record(result);
  // Everything is made before anything is written.
  const Mask mask = combined_mask(result);
  const Image drawn = overlay(result);
  write_png(mask_path, mask.view());
  write_png(overlay_path, drawn);
  write_file(json_path, json.dump(2) + "\n");
  json.set("mask", mask_path.string());
  json.set("overlay", overlay_path.string());
  json.set("json", json_path.string());
  return json;
}

}  // namespace promiseg::cli
