// What the tests of promiseg train share: a small model, pictures to learn from, and the command
// line.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "command_fixture.hpp"
#include "promiseg/io/csv.hpp"

namespace promiseg_test {

namespace fs = std::filesystem;
using promiseg::Image;
using promiseg::Index;
using promiseg::Json;

using Arguments = std::vector<std::string>;
using Columns = std::map<std::string, std::vector<std::string>>;

inline constexpr const char* kTable =
    "a.png,train,a_mask.png\nb.png,train,b_mask.png\nc.png,train,c_mask.png\n"
    "d.png,train,d_mask.png\ne.png,val,e_mask.png\nf.png,test,f_mask.png\n";

/// APM with as few layers as it can have.
inline constexpr const char* kSmallResnet = R"({"resnet_blocks": [1, 1, 1, 1], "tap_blocks": [2]})";
inline constexpr const char* kSmallCross = R"({"tap_blocks": [2, 1, 1], "cross_num_heads": 4})";

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

inline Arguments with(Arguments arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// A small model, four pictures of a disc to learn from, one to choose the best state by, and one
/// to test on. All are smaller than the model's frame.
class TrainFixture : public CommandFixture {
 public:
  explicit TrainFixture(const std::string& arch = "vit_b") : CommandFixture(arch) {
    add("a", 40, 60, 0.35, 0.5);
    add("b", 56, 36, 0.6, 0.4);
    add("c", 48, 48, 0.5, 0.65);
    add("d", 32, 50, 0.7, 0.5);
    add("e", 44, 44, 0.4, 0.35);
    add("f", 40, 52, 0.55, 0.6);
    write_table(kTable);
  }

  /// A picture of a disc with its mask; its centre in parts of the sides.
  void add(const std::string& name, Index height, Index width, double at_x, double at_y) const {
    Image image({height, width, 1});
    Image mask({height, width, 1});
    for (Index y = 0; y < height; ++y) {
      for (Index x = 0; x < width; ++x) {
        const double dx = static_cast<double>(x) / static_cast<double>(width) - at_x;
        const double dy = static_cast<double>(y) / static_cast<double>(height) - at_y;
        const bool inside = std::hypot(dx, dy) < 0.25;
        image.view()(y, x, 0) = static_cast<std::uint8_t>(inside ? 200 : 20 + (x * 7 + y * 3) % 60);
        mask.view()(y, x, 0) = static_cast<std::uint8_t>(inside ? 255 : 0);
      }
    }
    promiseg::write_png(*this / (name + ".png"), image);
    promiseg::write_png(*this / (name + "_mask.png"), mask);
  }

  void write_table(const std::string& rows) const {
    write_bytes(data(), "image_name,train_type,mask_name\n" + rows);
  }

  std::string data() const { return *this / "data.csv"; }
  std::string cache() const { return *this / "cache"; }
  std::string pack(const std::string& name) const { return *this / (name + ".safetensors"); }
  std::string log_of(const std::string& name) const { return pack(name) + ".log.csv"; }
  std::string state_of(const std::string& name) const { return pack(name) + ".state"; }

  /// The command line that trains the pack `name`; what `more` does not say is the fixture's.
  Arguments arguments(const std::string& name, const Arguments& more = {}) const {
    Arguments all = {"train", "-o", pack(name)};
    const auto given = [&](const std::string& option) {
      return std::find(more.begin(), more.end(), option) != more.end();
    };
    const auto unless_given = [&](const std::string& option, const std::string& value) {
      if (given(option)) return;
      all.push_back(option);
      all.push_back(value);
    };
    unless_given("--model", model());
    if (!given("--images")) unless_given("--data", data());
    unless_given("--cache", cache());
    unless_given("--epochs", "2");
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  std::string train(const std::string& name, const Arguments& more = {}) const {
    return run_well(arguments(name, more));
  }
  Json train_json(const std::string& name, const Arguments& more = {}) const {
    return run_json(arguments(name, more));
  }

  /// Every file but those in the cache.
  std::set<std::string> files() const {
    std::set<std::string> all = files_below(path());
    std::erase_if(all, [&](const std::string& file) { return file.starts_with(cache() + "/"); });
    return all;
  }

  /// The files of the cache, and when they were written.
  std::map<std::string, fs::file_time_type> features() const {
    std::map<std::string, fs::file_time_type> all;
    if (!fs::exists(cache())) return all;
    for (const std::string& file : files_below(cache())) all[file] = fs::last_write_time(file);
    return all;
  }

  /// The log's columns by their names.
  Columns read_log(const std::string& name) const {
    const auto records = promiseg::read_csv(log_of(name));
    REQUIRE_FALSE(records.empty());
    Columns columns;
    for (std::size_t field = 0; field < records.front().fields.size(); ++field) {
      auto& column = columns[records.front().fields[field]];
      for (std::size_t i = 1; i < records.size(); ++i) column.push_back(records[i].fields[field]);
    }
    return columns;
  }

  /// Segments the fixture's picture by the pack alone, and returns the one object.
  Json segment_with(const std::string& name) const {
    const Json record = segment("segmented", {"--pack", pack(name)});
    REQUIRE(record.at("objects").as_array().size() == 1);
    CHECK(read_mask(record.at("mask").as_string()).extents() == promiseg::Extents<3>{40, 60, 1});
    return record.at("objects").as_array().front();
  }

  /// Evaluates the pack on the one picture that is marked test.
  Json evaluate(const std::string& name) const {
    return run_json({"evaluate", "--model", model(), "--data", data(), "--pack", pack(name), "-o",
                     *this / "evaluated"});
  }

  /// The work must fail with one line that contains everything `expected`, and leave nothing behind
  /// but features.
  void check_failure(Arguments line, const std::vector<std::string>& expected,
                     int exit_code) const {
    line.emplace_back("--quiet");
    const std::set<std::string> before = files();
    const CommandResult result = run_promiseg(line);
    check_complaint(result, exit_code);
    for (const std::string& part : expected) {
      CHECK_MESSAGE(contains(result.err, part), "expected \"", part, "\" in: ", result.err);
    }
    CHECK(files() == before);
  }
  void check_failure(const Arguments& line, const std::vector<std::string>& expected) const {
    check_failure(line, expected, 1);
  }
  void check_wrong_usage(const Arguments& line, const std::vector<std::string>& expected) const {
    check_failure(line, expected, 2);
  }
};

}  // namespace promiseg_test
