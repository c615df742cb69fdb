#include "prompt_arguments.hpp"

#include <charconv>
#include <cmath>
#include <span>

#include "command.hpp"
#include "promiseg/io/file.hpp"

namespace promiseg::cli {
namespace {

/// `count` numbers separated by commas; throws `UsageError` with the form that was expected.
std::vector<float> parse_numbers(std::string_view text, std::size_t count, std::string_view form) {
  std::vector<float> numbers;
  const char* at = text.data();
  const char* end = text.data() + text.size();
  while (true) {
    float value = 0;
    const auto [next, status] = std::from_chars(at, end, value);
    if (status != std::errc{} || !std::isfinite(value)) break;
    numbers.push_back(value);
    at = next;
    if (at == end || *at != ',') break;
    ++at;
  }
  if (at != end || numbers.size() != count) {
    throw UsageError("expected " + std::string(form) + ", got \"" + std::string(text) + "\"");
  }
  return numbers;
}

PointPrompt make_point(std::span<const float> numbers) {
  const float label = numbers[2];
  if (label != 0.0F && label != 1.0F && label != 2.0F && label != 3.0F) {
    throw UsageError(
        "point label: expected 1 (object), 0 (background), 2 or 3 (corners of a box), "
        "got " +
        std::to_string(label));
  }
  return {numbers[0], numbers[1], static_cast<int>(label)};
}

std::vector<float> numbers_of(const Json& json, std::size_t count, const char* what) {
  std::vector<float> numbers;
  for (const Json& item : json.as_array()) numbers.push_back(static_cast<float>(item.as_number()));
  require(numbers.size() == count, ErrorCode::bad_format, what, ": expected ", count,
          " numbers, got ", numbers.size());
  return numbers;
}

NamedPrompt object_from_json(const Json& json) {
  NamedPrompt object;
  if (const Json* label = json.find("label")) object.label = label->as_string();
  if (const Json* pack = json.find("pack")) object.pack = pack->as_string();
  if (const Json* box = json.find("box"); box != nullptr && !box->is_null()) {
    const std::vector<float> corners = numbers_of(*box, 4, "box");
    object.prompt.box = BoxPrompt{corners[0], corners[1], corners[2], corners[3]};
  }
  if (const Json* points = json.find("points")) {
    for (const Json& point : points->as_array()) {
      object.prompt.points.push_back(make_point(numbers_of(point, 3, "point")));
    }
  }
  return object;
}

}  // namespace

std::vector<NamedPrompt> parse_prompt_arguments(const std::vector<PromptArgument>& arguments) {
  std::vector<NamedPrompt> objects;
  for (const auto& [kind, text] : arguments) {
    if (kind == PromptArgument::Kind::box) {
      const auto corners = parse_numbers(text, 4, "--box X0,Y0,X1,Y1");
      objects.emplace_back();
      objects.back().prompt.box = BoxPrompt{corners[0], corners[1], corners[2], corners[3]};
      continue;
    }
    if (objects.empty()) objects.emplace_back();
    if (kind == PromptArgument::Kind::point) {
      objects.back().prompt.points.push_back(
          make_point(parse_numbers(text, 3, "--point X,Y,LABEL")));
    } else {
      objects.back().label = text;
    }
  }
  return objects;
}

std::vector<NamedPrompt> read_prompts_json(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  std::vector<NamedPrompt> objects;
  try {
    const Json json = Json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    for (const Json& item : json.at("objects").as_array()) {
      objects.push_back(object_from_json(item));
    }
  } catch (const std::exception& error) {
    fail(ErrorCode::bad_format, path.string(), ": object ", objects.size() + 1, ": ", error.what());
  }
  require(!objects.empty(), ErrorCode::bad_format, path.string(), ": it names no objects");
  return objects;
}

Json to_json(const NamedPrompt& object) {
  const Prompt& prompt = object.prompt;
  Json json;
  json.set("label", object.label);
  if (!object.pack.empty()) json.set("pack", object.pack);
  if (prompt.box.has_value()) {
    json.set("box", Json::array(std::vector<double>{prompt.box->x0, prompt.box->y0, prompt.box->x1,
                                                    prompt.box->y1}));
  }
  Json::Array points;
  for (const PointPrompt& point : prompt.points) {
    points.push_back(Json::Array{double{point.x}, double{point.y}, point.label});
  }
  json.set("points", std::move(points));
  return json;
}

}  // namespace promiseg::cli
