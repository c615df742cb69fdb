// promiseg train: what a run makes, that it can be repeated, interrupted and gone on with, and what
// it refuses.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "child_process.hpp"
#include "command_fixture.hpp"
#include "promiseg/adapt/pack_file.hpp"
#include "promiseg/io/csv.hpp"

using namespace promiseg_test;
using promiseg::Image;
using promiseg::Index;
using promiseg::Json;
using promiseg::PackFile;
namespace fs = std::filesystem;

namespace {

using Arguments = std::vector<std::string>;
using Columns = std::map<std::string, std::vector<std::string>>;

/// Longer than anything here takes, under sanitizers too.
constexpr std::chrono::seconds kPatience{240};

constexpr const char* kTable =
    "a.png,train,a_mask.png\nb.png,train,b_mask.png\nc.png,train,c_mask.png\n"
    "d.png,train,d_mask.png\ne.png,val,e_mask.png\nf.png,test,f_mask.png\n";

/// APM with as few layers as it can have.
constexpr const char* kSmallResnet = R"({"resnet_blocks": [1, 1, 1, 1], "tap_blocks": [2]})";
constexpr const char* kSmallCross = R"({"tap_blocks": [2, 1, 1], "cross_num_heads": 4})";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string text_of(const fs::path& path) {
  const std::vector<char> bytes = read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

double number(const std::string& text) { return std::stod(text); }

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

Arguments with(Arguments arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<double> losses(const Json& report) {
  std::vector<double> all;
  for (const Json& epoch : report.at("epochs").as_array()) {
    all.push_back(epoch.at("loss").as_number());
  }
  return all;
}

bool holds(const PackFile& pack, std::string_view prefix) {
  const auto& tensors = pack.file().tensors();
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const auto& tensor) { return tensor.first.starts_with(prefix); });
}

/// How many of a pack's tensors with that beginning are other than the model's.
std::size_t count_changed(const PackFile& pack, const promiseg::ModelFile& model,
                          std::string_view prefix) {
  std::size_t changed = 0;
  for (const auto& [name, entry] : pack.file().tensors()) {
    if (!name.starts_with(prefix)) continue;
    const auto& before = model.file().at(name).bytes;
    if (!std::equal(entry.bytes.begin(), entry.bytes.end(), before.begin(), before.end())) {
      ++changed;
    }
  }
  return changed;
}

/// The lines of a log after the first; 0 if there is none.
std::ptrdiff_t logged_epochs(const std::string& file) {
  if (!fs::exists(file)) return 0;
  const std::vector<char> bytes = read_bytes(file);
  return std::max<std::ptrdiff_t>(std::count(bytes.begin(), bytes.end(), '\n') - 1, 0);
}

/// A run that a signal ended.
struct Halted {
  Arguments settings;  ///< with its number of epochs
  CommandResult result;
};

/// Trains the pack "halted", and sends a signal as soon as an epoch is on disk. A run that ends
/// before it gets there is made again with more epochs.
Halted halt(const TrainFixture& fixture, const Arguments& more, int signal_number,
            int first_epochs = 40) {
  for (const int factor : {1, 5, 25}) {
    const Arguments settings = with(more, {"--epochs", std::to_string(first_epochs * factor)});
    ChildProcess child(fixture.arguments("halted", settings));
    const auto begun = [&] {
      return logged_epochs(fixture.log_of("halted")) > 0 && fs::exists(fixture.state_of("halted"));
    };
    REQUIRE(child.wait_until(begun, kPatience));
    child.send(signal_number);
    const CommandResult result = child.wait(kPatience);
    if (result.exit_code != 0) return {settings, result};
    fs::remove(fixture.pack("halted"));
    fs::remove(fixture.log_of("halted"));
  }
  FAIL("every run ended before the signal came");
  return {};
}

/// Goes on with a halted run: the end must be that of a run that nobody has interrupted.
void check_resumed(const TrainFixture& fixture, const Arguments& settings) {
  fixture.train("whole", settings);
  const std::string said = fixture.train("halted", with(settings, {"--resume", "--threads", "1"}));
  CHECK(contains(said, "Going on after epoch "));
  CHECK_FALSE(contains(said, "Going on after epoch 0\n"));
  CHECK(read_bytes(fixture.pack("halted")) == read_bytes(fixture.pack("whole")));
  CHECK_FALSE(fs::exists(fixture.state_of("halted")));
  const Columns expected = fixture.read_log("whole");
  const Columns resumed = fixture.read_log("halted");
  for (const char* column : {"epoch", "rate", "loss", "train_dice", "val_dice"}) {
    CAPTURE(column);
    CHECK((resumed.at(column) == expected.at(column)));
  }
}

}  // namespace

TEST_CASE("train: IPS, from pictures to a pack at work") {
  const TrainFixture fixture;
  const std::set<std::string> before = fixture.files();
  const Json report =
      fixture.train_json("ips", {"--epochs", "3", "--label", "disc", "--licence", "CC0-1.0"});

  // What it says.
  CHECK(report.at("pack").as_string() == fixture.pack("ips"));
  CHECK(report.at("log").as_string() == fixture.log_of("ips"));
  CHECK(report.at("data").at("train").as_integer() == 4);
  CHECK(report.at("data").at("val").as_integer() == 1);
  const Json::Array& epochs = report.at("epochs").as_array();
  REQUIRE(epochs.size() == 3);
  const auto best =
      std::max_element(epochs.begin(), epochs.end(), [](const Json& a, const Json& b) {
        return a.at("val_dice").as_number() < b.at("val_dice").as_number();
      });
  CHECK(report.at("best_epoch").as_integer() == best - epochs.begin() + 1);
  CHECK(report.at("val_dice").as_number() == best->at("val_dice").as_number());
  CHECK(report.at("val_dice").as_number() <= 1.0);

  // What it writes: the pack, a line for every epoch, features of five pictures, nothing else.
  std::set<std::string> written = before;
  written.insert({fixture.pack("ips"), fixture.log_of("ips")});
  CHECK(fixture.files() == written);
  CHECK(fixture.features().size() == 5);
  const Columns lines = fixture.read_log("ips");
  CHECK(lines.size() == 6);
  CHECK(lines.at("epoch") == Arguments{"1", "2", "3"});
  const std::vector<double> rates = {3e-3, 2.25e-3, 7.5e-4};  // a cosine over three steps
  for (std::size_t i = 0; i < 3; ++i) {
    CAPTURE(i);
    CHECK(epochs[i].at("epoch").as_integer() == static_cast<std::int64_t>(i) + 1);
    CHECK(number(lines.at("rate").at(i)) == doctest::Approx(rates[i]).epsilon(1e-7));
    for (const char* column : {"rate", "loss", "train_dice", "val_dice"}) {
      CAPTURE(column);
      CHECK(number(lines.at(column).at(i)) ==
            doctest::Approx(epochs[i].at(column).as_number()).epsilon(1e-7));
    }
    CHECK(number(lines.at("loss").at(i)) > 0.0);
    CHECK(number(lines.at("seconds").at(i)) >= 0.0);
  }

  // What the pack is.
  const PackFile pack(fixture.pack("ips"));
  const promiseg::ModelFile model(fixture.model());
  CHECK((pack.config().apm == promiseg::ApmKind::none));
  CHECK((pack.config().own_prompt == promiseg::OwnPrompt::image));
  CHECK(pack.config().label == "disc");
  CHECK_FALSE(pack.config().decoder);
  CHECK(pack.file().tensors().size() == 4);
  CHECK(holds(pack, "ips_ffn.lin1.weight"));
  CHECK_FALSE(holds(pack, "mask_decoder."));
  CHECK_FALSE(holds(pack, "prompt_encoder."));
  CHECK(pack.provenance().model_sha256 == model.provenance().weights_sha256);
  CHECK(pack.provenance().licence == "CC0-1.0");
  const Json& training = pack.provenance().training;
  CHECK(training.at("method").as_string() == "ips");
  CHECK(training.at("config").at("epochs").as_integer() == 3);
  CHECK(training.at("data") == report.at("data"));
  CHECK(training.at("best_epoch") == report.at("best_epoch"));
  CHECK(training.at("val_dice").as_number() == report.at("val_dice").as_number());
  CHECK(run_json({"verify", fixture.pack("ips"), "--for", fixture.model()}).at("ok").as_bool());

  // What it does.
  CHECK(fixture.segment_with("ips").at("label").as_string() == "disc");
  const Json evaluation = fixture.evaluate("ips");
  CHECK(evaluation.at("images").as_integer() == 1);
  CHECK(evaluation.at("pack").at("label").as_string() == "disc");
}

TEST_CASE("train: the loss falls, and a pack to begin with is begun with") {
  const TrainFixture fixture;
  const std::vector<double> first = losses(
      fixture.train_json("first", {"--epochs", "8", "--rate", "2e-4", "--schedule", "constant"}));
  REQUIRE(first.size() == 8);
  CHECK(first.back() < first.front());
  const Arguments init = {"--epochs", "1", "--init", fixture.pack("first")};
  const std::vector<double> second = losses(fixture.train_json("second", init));
  REQUIRE(second.size() == 1);
  CHECK(second.front() < first.front());

  const std::string other = fixture / "other.safetensors";
  run_well({"synth", "vit_b", "--seed", "6", "-o", other, "--config", kSmallVit});
  fixture.check_failure(fixture.arguments("third", with(init, {"--model", other})),
                        {"first.safetensors", "another model"});
  fixture.check_failure(fixture.arguments("third", {"--epochs", "1", "--init", fixture.model()}),
                        {"model.safetensors", "expected a pack"});
}

TEST_CASE("train: APM by a ResNet") {
  const TrainFixture fixture;
  fixture.write_table(
      "a.png,train,a_mask.png\nb.png,train,b_mask.png\n"
      "e.png,val,e_mask.png\nf.png,test,f_mask.png\n");
  fixture.train("corners", {"--method", "apm+ips", "--points", "corners", "--corner-weight", "5",
                            "--point-jitter", "0.05", "--config", kSmallResnet, "--half"});
  {
    const PackFile pack(fixture.pack("corners"));
    CHECK((pack.config().apm == promiseg::ApmKind::resnet));
    CHECK(pack.config().ips);
    CHECK((pack.config().own_prompt == promiseg::OwnPrompt::none));
    CHECK(pack.config().tap_blocks == std::vector<Index>{2});
    CHECK(pack.config().point_value == std::vector<Index>{2, 3});
    CHECK(pack.config().point_scale == 64.0);
    CHECK(holds(pack, "ips_ffn."));
    CHECK(holds(pack, "apm_feature_map.fusion_conv1.weight"));
    CHECK_FALSE(holds(pack, "apm_resnet.fc2."));  // nothing reads it
    CHECK((pack.file().at("apm_resnet.fc.weight").dtype == promiseg::DType::f16));
  }
  const Json corners = fixture.segment_with("corners");
  REQUIRE(corners.at("points").as_array().size() == 2);
  CHECK(corners.at("points").as_array()[0].as_array().at(2).as_integer() == 2);
  CHECK(corners.at("points").as_array()[1].as_array().at(2).as_integer() == 3);
  CHECK(fixture.evaluate("corners").at("images").as_integer() == 1);

  fixture.train("free", {"--method", "apm", "--config", kSmallResnet, "--epochs", "1"});
  const PackFile pack(fixture.pack("free"));
  CHECK_FALSE(pack.config().ips);
  CHECK_FALSE(holds(pack, "ips_ffn."));
  CHECK((pack.file().at("apm_resnet.fc.weight").dtype == promiseg::DType::f32));
  const auto means = pack.file().view<float, 1>("apm_resnet.bn1.running_mean");
  CHECK(std::any_of(means.data(), means.data() + means.size(),
                    [](float value) { return value != 0; }));
  CHECK(fixture.segment_with("free").at("points").as_array().size() == 16);
}

TEST_CASE("train: APM by attention") {
  const TrainFixture fixture;
  fixture.train("cross", {"--method", "apm+ips", "--apm", "cross", "--points", "corners",
                          "--corner-weight", "1", "--config", kSmallCross});
  const PackFile pack(fixture.pack("cross"));
  CHECK((pack.config().apm == promiseg::ApmKind::cross));
  CHECK(pack.config().ips);
  CHECK(pack.config().tap_blocks == std::vector<Index>{2, 1, 1});
  CHECK(holds(pack, "apm_cross_prompt.weight"));
  CHECK_FALSE(holds(pack, "apm_cross.layers.0.norm2."));  // nothing reads it
  CHECK(fixture.segment_with("cross").at("points").as_array().size() == 2);
  CHECK(fixture.evaluate("cross").at("images").as_integer() == 1);
}

TEST_CASE("train: given prompts, boxes or points") {
  const TrainFixture fixture;
  for (const char* prompt : {"box", "points"}) {
    CAPTURE(prompt);
    fixture.train(prompt, {"--train-prompt", prompt});
    CHECK((PackFile(fixture.pack(prompt)).config().own_prompt == promiseg::OwnPrompt::none));
    const CommandResult alone =
        run_promiseg({"segment", fixture.image(), "--model", fixture.model(), "--pack",
                      fixture.pack(prompt), "-o", fixture / "alone"});
    check_complaint(alone, 2);
    fixture.segment("given", {"--pack", fixture.pack(prompt), "--box", "10,5,40,35"});
  }
}

TEST_CASE("train: the same seed gives the same pack, byte for byte, and another one another") {
  const TrainFixture fixture;
  const Arguments points = {"--train-prompt", "points", "--augment", "1", "--batch", "3"};
  fixture.train("one", with(points, {"--seed", "3"}));
  fixture.train("same", with(points, {"--seed", "3"}));
  fixture.train("other", with(points, {"--seed", "4"}));
  CHECK(read_bytes(fixture.pack("one")) == read_bytes(fixture.pack("same")));
  CHECK(PackFile(fixture.pack("one")).provenance().weights_sha256 !=
        PackFile(fixture.pack("other")).provenance().weights_sha256);
}

TEST_CASE("train: the number of threads changes nothing") {
  const TrainFixture fixture;
  const std::vector<Arguments> methods = {
      {"--train-prompt", "box"},
      {"--method", "apm+ips", "--apm", "cross", "--config", kSmallCross}};
  for (const Arguments& method : methods) {
    CAPTURE(method.back());
    // Their own caches: the features are compared, too.
    fixture.train("one", with(method, {"--threads", "1", "--cache", fixture / "cache_one"}));
    fixture.train("three", with(method, {"--threads", "3", "--cache", fixture / "cache_three"}));
    CHECK(read_bytes(fixture.pack("one")) == read_bytes(fixture.pack("three")));
  }
}

TEST_CASE("train: interrupted after a step in the middle, it goes on where it stopped") {
  const TrainFixture fixture;
  const std::set<std::string> before = fixture.files();
  const Arguments more = {"--batch", "1", "--train-prompt", "points", "--quiet"};
  const Halted halted = halt(fixture, more, SIGINT);
  check_complaint(halted.result, 1);
  CHECK(contains(halted.result.err, "interrupted"));
  CHECK(contains(halted.result.err, "--resume"));
  std::set<std::string> left = before;
  left.insert({fixture.pack("halted"), fixture.log_of("halted"), fixture.state_of("halted")});
  CHECK(fixture.files() == left);

  // With other settings there is nothing to go on with, and nothing is spoilt by trying.
  const std::vector<char> state = read_bytes(fixture.state_of("halted"));
  const std::vector<char> pack = read_bytes(fixture.pack("halted"));
  for (const Arguments& other : {Arguments{"--rate", "0.01"}, Arguments{"--seed", "9"}}) {
    CAPTURE(other.front());
    CommandResult refused =
        run_promiseg(fixture.arguments("halted", with(with(halted.settings, other), {"--resume"})));
    check_complaint(refused, 1);
    CHECK(contains(refused.err, "halted.safetensors.state"));
    CHECK(contains(refused.err, "other settings"));
  }
  CHECK(fixture.files() == left);
  CHECK(read_bytes(fixture.state_of("halted")) == state);
  CHECK(read_bytes(fixture.pack("halted")) == pack);

  Arguments loud = halted.settings;
  loud.erase(std::remove(loud.begin(), loud.end(), "--quiet"), loud.end());
  check_resumed(fixture, loud);
}

TEST_CASE("train: interrupted after the last step of an epoch, it goes on") {
  // One step is an epoch, so that is where an interrupt is noticed.
  const TrainFixture fixture;
  const Halted halted = halt(fixture, {"--batch", "8"}, SIGINT);
  CHECK(halted.result.exit_code == 1);
  CHECK(contains(halted.result.err, "--resume"));
  check_resumed(fixture, halted.settings);
}

TEST_CASE("train: killed, it goes on from the last epoch") {
  const TrainFixture fixture;
  Arguments method;
  int epochs = 40;
  SUBCASE("IPS") { method = {"--train-prompt", "box"}; }
  SUBCASE("APM, which has running statistics, and IPS") {
    method = {"--method", "apm+ips", "--config", kSmallResnet, "--point-jitter", "0.05"};
    epochs = 5;  // each takes a second under the sanitizers
  }
  const Halted halted = halt(fixture, with({"--batch", "2"}, method), SIGKILL, epochs);
  CHECK(halted.result.exit_code == 128 + SIGKILL);
  REQUIRE(fs::exists(fixture.state_of("halted")));
  check_resumed(fixture, halted.settings);
}

TEST_CASE("train: a run whose best state is gone does not go on as if it were there") {
  const TrainFixture fixture;
  const Halted halted = halt(fixture, {"--batch", "2"}, SIGINT);
  fs::rename(fixture.pack("halted"), fixture / "moved");
  fixture.check_failure(fixture.arguments("halted", with(halted.settings, {"--resume"})),
                        {"halted.safetensors", "put the file back"});
  CHECK(fs::exists(fixture.state_of("halted")));
}

TEST_CASE("train: intensities are recorded, and others told of") {
  const TrainFixture fixture;
  fixture.train("windowed", {"--window", "0,200", "--epochs", "1"});
  CHECK(PackFile(fixture.pack("windowed")).provenance().training.at("window") == Json("0,200"));
  const auto says_so = [&](const Arguments& more) {
    const std::string said =
        run_well(with({"segment", fixture / "f.png", "--model", fixture.model(), "--pack",
                       fixture.pack("windowed"), "-o", fixture / "out"},
                      more));
    return contains(said, "trained with --window 0,200");
  };
  CHECK(says_so({}));
  CHECK(says_so({"--window", "auto"}));
  CHECK_FALSE(says_so({"--window", "0,200"}));
}

TEST_CASE("train: nothing to go on with") {
  const TrainFixture fixture;
  fixture.check_failure(fixture.arguments("none", {"--resume"}),
                        {"none.safetensors.state", "no interrupted run"});
  write_bytes(fixture.state_of("text"), std::string_view("not a state\n"));
  fixture.check_failure(fixture.arguments("text", {"--resume"}), {"text.safetensors.state"});
}

TEST_CASE("train: what is thawed is in the pack, and works there") {
  const TrainFixture fixture;
  std::string freeze;
  SUBCASE("the prompt encoder") { freeze = "fz1"; }
  SUBCASE("the mask decoder") { freeze = "fz2"; }
  SUBCASE("both") { freeze = "fz3"; }
  CAPTURE(freeze);
  fixture.train("thawed", {"--freeze", freeze});
  const PackFile pack(fixture.pack("thawed"));
  const promiseg::ModelFile model(fixture.model());
  CHECK(pack.config().decoder);
  for (const auto& spec : promiseg::pack_tensor_specs(pack.config(), model.config())) {
    CAPTURE(spec.name);
    CHECK(pack.file().contains(spec.name));
  }
  CHECK((count_changed(pack, model, "prompt_encoder.") > 0) == (freeze != "fz2"));
  CHECK((count_changed(pack, model, "mask_decoder.") > 0) == (freeze != "fz1"));
  CHECK(run_json({"verify", fixture.pack("thawed"), "--for", fixture.model()}).at("ok").as_bool());
  fixture.segment_with("thawed");
  fixture.segment("given", {"--pack", fixture.pack("thawed"), "--point", "20,20,1"});
}

TEST_CASE("train: what is thawed by corners is in the pack, and works there") {
  const TrainFixture fixture;
  fixture.train("thawed", {"--freeze", "fz3", "--method", "apm", "--apm", "cross", "--points",
                           "corners", "--config", kSmallCross});
  CHECK(run_json({"verify", fixture.pack("thawed"), "--for", fixture.model()}).at("ok").as_bool());
  CHECK(fixture.segment_with("thawed").at("points").as_array().size() == 2);
}

TEST_CASE("train: with nothing frozen there is a new model, and the pack belongs to it") {
  const TrainFixture fixture;
  const std::string thawed = fixture / "thawed_model.safetensors";
  fixture.train("thawed", {"--freeze", "fz4", "--model-out", thawed, "--epochs", "1"});
  CHECK(run_json({"verify", thawed}).at("ok").as_bool());
  CHECK(run_json({"verify", fixture.pack("thawed"), "--for", thawed}).at("ok").as_bool());
  const promiseg::ModelFile before(fixture.model());
  const promiseg::ModelFile after(thawed);
  CHECK(before.provenance().weights_sha256 != after.provenance().weights_sha256);
  run_well({"segment", fixture / "f.png", "--model", thawed, "--pack", fixture.pack("thawed"), "-o",
            fixture / "out"});
  fixture.check_failure({"segment", fixture / "f.png", "--model", fixture.model(), "--pack",
                         fixture.pack("thawed"), "-o", fixture / "out"},
                        {"thawed.safetensors", "belongs to the model"});
}

TEST_CASE("train: pictures without a choice for validation are split, and it says so") {
  const TrainFixture fixture;
  fixture.write_table(
      "a.png,train,a_mask.png\nb.png,train,b_mask.png\nc.png,train,c_mask.png\n"
      "d.png,train,d_mask.png\ne.png,train,e_mask.png\nf.png,test,f_mask.png\n");
  // Nobody looks at what is marked test.
  write_bytes(fixture / "f.png", std::string_view("not a picture"));
  const std::string said = fixture.train("split");
  CHECK(contains(said, "No image is marked val: 1 of the training images"));
  CHECK(contains(said, "Images to encode: 5;"));
  CHECK(contains(said, "epoch 2/2"));
  CHECK(contains(said, fixture.pack("split")));
  CHECK_FALSE(contains(fixture.train("split", {"--epochs", "1"}), "to encode"));

  const Json data = fixture.train_json("more", {"--val-fraction", "0.4"}).at("data");
  CHECK(data.at("train").as_integer() == 3);
  CHECK(data.at("val").as_integer() == 2);

  const CommandResult quiet = run_promiseg(fixture.arguments("quiet", {"--quiet"}));
  CHECK(quiet.exit_code == 0);
  CHECK(quiet.out.empty());
  CHECK(quiet.err.empty());
  CHECK(fs::exists(fixture.pack("quiet")));
}

TEST_CASE("train: two folders of pictures and masks") {
  const TrainFixture fixture;
  fs::create_directory(fixture / "images");
  fs::create_directory(fixture / "masks");
  for (const char* stem : {"a", "b", "c"}) {
    const std::string name(stem);
    fs::copy_file(fixture / (name + ".png"), fixture / ("images/" + name + ".png"));
    fs::copy_file(fixture / (name + "_mask.png"), fixture / ("masks/" + name + "_mask.png"));
  }
  const Json data =
      fixture.train_json("pack", {"--images", fixture / "images", "--masks", fixture / "masks"})
          .at("data");
  CHECK(data.at("train").as_integer() == 2);
  CHECK(data.at("val").as_integer() == 1);
}

TEST_CASE("train: another choice for validation is other data") {
  const TrainFixture fixture;
  const auto fingerprint = [&](const std::string& rows) {
    fixture.write_table(rows);
    return fixture.train_json("pack", {"--epochs", "1"}).at("data").at("fingerprint").as_string();
  };
  const std::string first = fingerprint("a.png,train,a_mask.png\nb.png,val,b_mask.png\n");
  CHECK(first.size() == 32);
  CHECK(fingerprint("a.png,train,a_mask.png\nb.png,val,b_mask.png\n") == first);
  CHECK(fingerprint("a.png,val,a_mask.png\nb.png,train,b_mask.png\n") != first);
  CHECK(fingerprint("a.png,train,a_mask.png\nc.png,val,c_mask.png\n") != first);
  promiseg::write_png(fixture / "b_mask.png", Image({56, 36, 1}));
  CHECK(fingerprint("a.png,train,a_mask.png\nb.png,val,b_mask.png\n") != first);
}

TEST_CASE("train: varied pictures are encoded once and kept") {
  const TrainFixture fixture;
  const std::string plain = fixture.train("plain");
  CHECK(contains(plain, "Images to encode: 5;"));
  CHECK(fixture.features().size() == 5);

  const std::string varied = fixture.train("varied", {"--augment", "1"});
  CHECK(contains(varied, "Images to encode: 4;"));  // those to learn from, not the one to choose by
  const auto features = fixture.features();
  CHECK(features.size() == 9);
  const PackFile pack(fixture.pack("varied"));
  const Json& training = pack.provenance().training;
  CHECK(training.at("data").at("versions").as_integer() == 2);
  CHECK(training.find("augmentation") != nullptr);
  CHECK(PackFile(fixture.pack("plain")).provenance().training.find("augmentation") == nullptr);

  const std::string again = fixture.train("again", {"--augment", "1"});
  CHECK_FALSE(contains(again, "to encode"));
  CHECK((fixture.features() == features));
  CHECK(read_bytes(fixture.pack("again")) == read_bytes(fixture.pack("varied")));

  // What was damaged is encoded again, to the same.
  const std::string damaged = features.begin()->first;
  const std::vector<char> whole = read_bytes(damaged);
  write_bytes(damaged, std::span(whole).first(whole.size() / 2));
  CHECK(contains(fixture.train("mended", {"--augment", "1"}), "Images to encode: 1;"));
  CHECK(read_bytes(damaged) == whole);
  CHECK(read_bytes(fixture.pack("mended")) == read_bytes(fixture.pack("varied")));
}

TEST_CASE("train: where features go if nothing is said") {
  const TrainFixture fixture;
  run_well({"train", "--model", fixture.model(), "--data", fixture.data(), "-o",
            fixture.pack("pack"), "--epochs", "1"},
           {{"XDG_CACHE_HOME", fixture / "xdg"}});
  CHECK(files_below(fixture / "xdg/promiseg").size() == 5);
  run_well({"train", "--model", fixture.model(), "--data", fixture.data(), "-o",
            fixture.pack("pack"), "--epochs", "1"},
           {{"XDG_CACHE_HOME", ""}, {"HOME", fixture / "home"}});
  CHECK(files_below(fixture / "home/.cache/promiseg").size() == 5);
}

TEST_CASE("train: LiteMedSAM's kind of model, and the limit of the cache") {
  const TrainFixture fixture("litemedsam");
  // Five pictures of 16 x 16 positions with 32 + 320 + 320 + 40 channels, two bytes each.
  fixture.check_failure(
      fixture.arguments("pack", {"--method", "apm+ips", "--cache-limit", "0.001"}),
      {"5 images", "1.8 MB", "1.0 MB", "--cache-limit"});
  CHECK(fixture.features().empty());

  fixture.train("pack", {"--epochs", "1", "--cache-limit", "0.001"});
  CHECK(fixture.features().size() == 5);
  CHECK(PackFile(fixture.pack("pack")).config().mask_token == 0);
  fixture.segment_with("pack");
}

TEST_CASE("train: wrong usage") {
  const TrainFixture fixture;
  const auto refused = [&](const Arguments& more, const std::string& expected) {
    fixture.check_wrong_usage(fixture.arguments("pack", more), {expected});
  };
  const std::string folder = fixture.path().string();
  fixture.check_wrong_usage(
      {"train", "--model", fixture.model(), "--cache", fixture.cache(), "-o", fixture.pack("pack")},
      {"--data", "--images"});
  fixture.check_wrong_usage({"train", "--model", fixture.model(), "--data", fixture.data()},
                            {"--output"});
  refused({"--data", fixture.data(), "--images", folder, "--masks", folder}, "--data");
  refused({"--images", folder}, "--masks");
  refused({"--masks", folder}, "--images");
  refused({"--method", "apm", "--train-prompt", "box"}, "--train-prompt");
  refused({"--method", "apm+ips", "--train-prompt", "points"}, "--train-prompt");
  refused({"--corner-weight", "5"}, "--corner-weight");
  refused({"--method", "apm", "--points", "free", "--corner-weight", "5"}, "--points corners");
  refused({"--config", R"({"tap_blocs": [2]})"}, "tap_blocs");
  refused({"--config", "{"}, "--config");
  refused({"--method", "apm", "--config", R"({"tap_blocks": [3]})"}, "tap_blocks");
  refused({"--optimiser", "adam", "--weight-decay", "0.1"}, "--weight-decay");
  refused({"--backend", "reference"}, "reference");
  refused({"--precision", "bf16"}, "fp32");
  refused({"--max-memory", "1GB"}, "--max-memory");
  refused({"--window", "9,1"}, "window");
  refused({"--epochs", "0"}, "epochs");
  refused({"--batch", "0"}, "batch");
  refused({"--rate", "0"}, "rate");
  refused({"--method", "magic"}, "--method");
  refused({"--freeze", "fz9"}, "--freeze");
  refused({"--cache-limit", "0"}, "--cache-limit");
  refused({"--val-fraction", "1"}, "--val-fraction");
  CHECK(fixture.features().empty());
}

TEST_CASE("train: wrong settings of augmentation are named as such") {
  const TrainFixture fixture;
  for (const char* fields : {R"({"rotate": 5})", R"({"blur_probability": 2})", "{"}) {
    CAPTURE(fields);
    fixture.check_wrong_usage(
        fixture.arguments("pack", {"--augment", "1", "--augment-config", fields}),
        {"--augment-config"});
  }
}

TEST_CASE("train: data that cannot be used") {
  const TrainFixture fixture;
  const auto refused = [&](const std::string& rows, const std::vector<std::string>& expected,
                           const Arguments& more = {}) {
    CAPTURE(rows);
    fixture.write_table(rows);
    fixture.check_failure(fixture.arguments("pack", more), expected);
  };
  const std::string a = "a.png,train,a_mask.png\n";
  const std::string b = "b.png,train,b_mask.png\n";
  const std::string e = "e.png,val,e_mask.png\n";
  refused(a + "b.png,train\n", {"data.csv, line 3"});
  refused(a + "b.png,learn,b_mask.png\n", {"data.csv, line 3", "learn"});
  refused(a + e + "absent.png,train,b_mask.png\n", {"data.csv, line 4", "absent.png"});
  refused(a + "b.png,train,absent_mask.png\n", {"data.csv, line 3", "absent_mask.png"});
  refused(a + a, {"data.csv, line 3", "twice"});
  refused("", {"data.csv", "no samples"});
  refused(a, {"data.csv", "one image"});
  refused(e, {"data.csv", "no training images"});
  refused("a.png,test,a_mask.png\n", {"data.csv", "no training images"});
  refused("a.png,train,b_mask.png\n" + b + e, {"b_mask.png", "36 x 56", "a.png", "60 x 40"});
  refused(a + "e.png,val,a_mask.png\n", {"a_mask.png", "60 x 40", "e.png", "44 x 44"});
  write_bytes(fixture / "text.png", std::string_view("not a picture"));
  refused(a + "text.png,train,b_mask.png\n" + e, {"text.png"});
  refused(a + "b.png,train,text.png\n" + e, {"text.png"});
  fs::remove(fixture.data());
  fixture.check_failure(fixture.arguments("pack"), {"data.csv"});
  fixture.write_table(kTable);
  fixture.check_failure(fixture.arguments("pack", {"--model", fixture / "absent.safetensors"}),
                        {"absent.safetensors"});
}

TEST_CASE("train: an empty mask has no box and no points, but the frame is always there") {
  const TrainFixture fixture;
  promiseg::write_png(fixture / "blank.png", CommandFixture::picture(30, 30));
  promiseg::write_png(fixture / "blank_mask.png", Image({30, 30, 1}));
  const std::vector<std::string> tables = {
      "a.png,train,a_mask.png\nblank.png,train,blank_mask.png\ne.png,val,e_mask.png\n",
      "a.png,train,a_mask.png\nb.png,train,b_mask.png\nblank.png,val,blank_mask.png\n"};
  for (const std::string& table : tables) {
    CAPTURE(table);
    fixture.write_table(table);
    for (const char* prompt : {"box", "points"}) {
      CAPTURE(prompt);
      fixture.check_failure(fixture.arguments("pack", {"--train-prompt", prompt}),
                            {"blank.png", "empty"});
    }
    const Json report = fixture.train_json("pack");
    CHECK(report.at("val_dice").as_number() >= 0.0);
    fs::remove(fixture.pack("pack"));
    fs::remove(fixture.log_of("pack"));
  }
}

TEST_CASE("train: places that cannot be written") {
  const TrainFixture fixture;
  fixture.check_failure(fixture.arguments("absent/pack"), {"absent"});
  fixture.check_failure(fixture.arguments("data.csv/pack"), {"data.csv"});
  fixture.check_failure(fixture.arguments("pack", {"--cache", fixture.image()}), {"picture.png"});
  CHECK(fixture.features().empty());
}

TEST_CASE("train: a pack or log that cannot be written is noticed before any work") {
  const TrainFixture fixture;
  fs::create_directory(fixture.pack("folder"));
  fixture.check_failure(fixture.arguments("folder"), {"folder.safetensors"});
  fs::create_directory(fixture.log_of("logged"));
  fixture.check_failure(fixture.arguments("logged"), {"logged.safetensors.log.csv"});
  CHECK(fixture.features().empty());
}

TEST_CASE("train: what it reads is not replaced") {
  const TrainFixture fixture;
  const std::vector<char> model = read_bytes(fixture.model());
  const Arguments rest = {"--model", fixture.model(), "--cache", fixture.cache(), "--epochs", "1"};
  CHECK(run_promiseg(with({"train", "--data", fixture.data(), "-o", fixture.data()}, rest))
            .exit_code != 0);
  CHECK(contains(text_of(fixture.data()), kTable));
  fixture.write_table(kTable);
  CHECK(run_promiseg(with({"train", "--data", fixture.data(), "-o", fixture.model()}, rest))
            .exit_code != 0);
  CHECK(read_bytes(fixture.model()) == model);
}
