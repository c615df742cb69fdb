// promiseg evaluate: what it measures and writes for which prompts, and what it refuses.
#include <doctest/doctest.h>

#include <map>

#include "command_fixture.hpp"
#include "evaluation.hpp"
#include "promiseg/io/csv.hpp"

using namespace promiseg_test;
using promiseg::Image;
using promiseg::Index;
using promiseg::Json;
namespace fs = std::filesystem;

namespace {

using Arguments = std::vector<std::string>;

/// The mask of `CommandFixture::picture`.
Image disc(Index height, Index width) {
  Image mask = CommandFixture::picture(height, width);
  for (std::uint8_t& value : mask.elements()) {
    value = static_cast<std::uint8_t>(value == 200 ? 255 : 0);
  }
  return mask;
}

promiseg::metrics::MaskView as_mask(const Image& image) { return image.view().select(2, 0); }

/// A small model, two pictures with their masks to test on, and one for training without an object.
class EvaluateFixture : public CommandFixture {
 public:
  EvaluateFixture() {
    add("wide", 40, 60, disc(40, 60));
    add("tall", 50, 30, disc(50, 30));
    add("blank", 30, 30, Image({30, 30, 1}));
    write_table(
        "wide.png,test,wide_mask.png\ntall.png,test,tall_mask.png\n"
        "blank.png,train,blank_mask.png\n");
  }

  void add(const std::string& name, Index height, Index width, const Image& mask) const {
    promiseg::write_png(*this / (name + ".png"), picture(height, width));
    promiseg::write_png(*this / (name + "_mask.png"), mask);
  }

  /// Trains a pack of IPS for an epoch and returns its path. The table then has two pictures to
  /// test.
  std::string trained_pack(const std::string& prompt) const {
    const std::string file = *this / ("trained_" + prompt + ".safetensors");
    write_table("wide.png,train,wide_mask.png\ntall.png,val,tall_mask.png\n");
    run_well({"train", "--model", model(), "--data", *this / "data.csv", "--cache", *this / "cache",
              "--epochs", "1", "--train-prompt", prompt, "-o", file});
    write_table("wide.png,test,wide_mask.png\ntall.png,test,tall_mask.png\n");
    return file;
  }

  void write_table(const std::string& rows) const {
    write_bytes(*this / "data.csv", "image_name,train_type,mask_name\n" + rows);
  }

  /// Makes a pack and returns its path.
  std::string pack(const std::string& name, const std::string& config) const {
    const std::string file = *this / (name + ".safetensors");
    run_well({"synth", "promise_resnet18", "--for", model(), "--seed", "1", "-o", file, "--config",
              config});
    return file;
  }

  /// The command line that evaluates the table.
  Arguments arguments(const Arguments& more) const {
    Arguments all = {"evaluate", "--model", model(), "--data", *this / "data.csv", "-o", out()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  std::string out() const { return *this / "out"; }
  Json evaluate(const Arguments& more) const { return run_json(arguments(more)); }

  /// The work must fail with one line that contains `expected`, and write nothing.
  void check_failure(const Arguments& line, const std::string& expected, int exit_code = 1) const {
    const std::set<std::string> before = files_below(path());
    const CommandResult result = run_promiseg(line);
    check_complaint(result, exit_code);
    CHECK_MESSAGE(result.err.find(expected) != std::string::npos, "expected \"", expected,
                  "\" in: ", result.err);
    CHECK(files_below(path()) == before);
  }
};

constexpr const char* kPointPack =
    R"({"label": "disc", "tap_blocks": [2, 1], "point_num": 3, "point_value": [1, 1, 0],
        "resnet_blocks": [1, 1, 1, 1]})";

/// The columns of metrics.csv by name, images in its order.
std::map<std::string, std::vector<std::string>> columns(const Json& evaluation) {
  const auto records = promiseg::read_csv(evaluation.at("files").at("metrics").as_string());
  std::map<std::string, std::vector<std::string>> columns;
  for (std::size_t field = 0; field < records.front().fields.size(); ++field) {
    auto& column = columns[records.front().fields[field]];
    for (std::size_t i = 1; i < records.size(); ++i) column.push_back(records[i].fields[field]);
  }
  return columns;
}

double number(const std::string& text) { return std::stod(text); }

/// Of everything that an evaluation of two images is: the files, and means that are theirs.
void check_two_images(const Json& evaluation) {
  CHECK(evaluation.at("images").as_integer() == 2);
  for (const char* file : {"metrics", "summary", "report"}) {
    CHECK(fs::exists(evaluation.at("files").at(file).as_string()));
  }
  auto table = columns(evaluation);
  CHECK(table["name"] == Arguments{"wide", "tall"});
  CHECK(table["split"] == Arguments{"test", "test"});
  for (const auto& column : promiseg::metrics::kMetricColumns) {
    const std::string name(column.name);
    CAPTURE(name);
    const auto mean = [&](const std::string& of) {
      return doctest::Approx((number(table.at(of).at(0)) + number(table.at(of).at(1))) / 2);
    };
    CHECK(evaluation.at(name).as_number() == mean(name));
    CHECK(evaluation.at("at_256").at(name).as_number() == mean(name + "_256"));
  }
  for (const std::string& seconds : table["seconds"]) CHECK(number(seconds) > 0);
  CHECK(evaluation.at("peak_memory_bytes").as_integer() > 1000000);
}

std::string text_of(const fs::path& path) {
  const std::vector<char> bytes = read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("evaluate: the frozen model with prompts from the truth, and with the whole frame") {
  const EvaluateFixture fixture;
  for (const char* prompt : {"image", "points", "box"}) {
    CAPTURE(prompt);
    const Json json = fixture.evaluate({"--prompt", prompt});
    check_two_images(json);
    CHECK(json.at("prompt").as_string() == prompt);
    CHECK(json.at("pack").is_null());
    CHECK(json.at("skipped").as_array().empty());
    CHECK(json.at("low_res_side").as_integer() == 32);
  }
  CHECK(files_below(fixture.out()).size() == 3);
}

TEST_CASE("evaluate: a pack with its own prompts, and with given ones") {
  const EvaluateFixture fixture;
  const std::string pack = fixture.pack("points", kPointPack);
  const Json own = fixture.evaluate({"--pack", pack});
  check_two_images(own);
  CHECK(own.at("prompt").as_string() == "none");
  CHECK(own.at("pack").at("label").as_string() == "disc");
  CHECK(own.at("pack").at("weights_sha256").as_string().size() == 64);
  for (const char* prompt : {"image", "points", "box"}) {
    CAPTURE(prompt);
    const Json given = fixture.evaluate({"--pack", pack, "--prompt", prompt});
    check_two_images(given);
    CHECK(given.at("score") != own.at("score"));
    CHECK(given.at("score") != fixture.evaluate({"--prompt", prompt}).at("score"));
  }
}

TEST_CASE("evaluate: a pack of IPS alone has the prompt it was trained with, or none") {
  const EvaluateFixture fixture;
  const std::string whole = fixture.pack("whole", R"({"apm": "none", "own_prompt": "image"})");
  const Json own = fixture.evaluate({"--pack", whole});
  check_two_images(own);
  const Json frame = fixture.evaluate({"--pack", whole, "--prompt", "image"});
  CHECK(frame.at("score") == own.at("score"));
  CHECK(frame.at("dice") == own.at("dice"));

  const std::string silent = fixture.pack("silent", R"({"apm": "none"})");
  fs::remove_all(fixture.out());
  fixture.check_failure(fixture.arguments({"--pack", silent}), "silent.safetensors", 2);
  check_two_images(fixture.evaluate({"--pack", silent, "--prompt", "box"}));
}

TEST_CASE("evaluate: a pack trained with boxes or points is given them") {
  const EvaluateFixture fixture;
  for (const char* prompt : {"box", "points"}) {
    CAPTURE(prompt);
    const std::string pack = fixture.trained_pack(prompt);
    const Json trained = fixture.evaluate({"--pack", pack});
    check_two_images(trained);
    CHECK(trained.at("prompt").as_string() == std::string(prompt) + " (as trained)");
    CHECK(text_of(fixture / "out/report.html").find(", as the pack was trained") !=
          std::string::npos);
    const Json given = fixture.evaluate({"--pack", pack, "--prompt", prompt});
    CHECK(given.at("prompt").as_string() == prompt);
    CHECK(given.at("score") == trained.at("score"));
    CHECK(given.at("dice") == trained.at("dice"));
  }
}

TEST_CASE("evaluate: the report shows how the pack was trained, if the log is there") {
  const EvaluateFixture fixture;
  const std::string pack = fixture.trained_pack("image");
  const std::string log = pack + ".log.csv";
  const auto report = [&] {
    fixture.evaluate({"--pack", pack});
    return text_of(fixture / "out/report.html");
  };
  constexpr const char* kSection = "<section id='training'>";
  const std::string html = report();
  for (const char* expected : {kSection, "Loss by epoch", "Dice by epoch", "validation"}) {
    CAPTURE(expected);
    CHECK(html.find(expected) != std::string::npos);
  }
  for (const char* broken :
       {"", "epoch,loss\n1,0.5\n", "epoch,rate,loss,train_dice,val_dice,seconds\n",
        "epoch,rate,loss,train_dice,val_dice,seconds\n1,1,high,0.5,0.5,1\n"}) {
    CAPTURE(broken);
    write_bytes(log, std::string_view(broken));
    const std::string without = report();
    CHECK(without.find(kSection) == std::string::npos);
    CHECK(without.find("The log of the training is left out: " + log) != std::string::npos);
  }
  fs::remove(log);
  const std::string missing = report();
  CHECK(missing.find(kSection) == std::string::npos);
  CHECK(missing.find("log of the training") == std::string::npos);
}

TEST_CASE("evaluate: measures what segment writes") {
  const EvaluateFixture fixture;
  auto table = columns(fixture.evaluate({"--prompt", "box"}));
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string name = table["name"].at(i);
    CAPTURE(name);
    const Image truth = read_mask(fixture / (name + "_mask.png"));
    const auto box = promiseg::cli::true_box(as_mask(truth));
    REQUIRE(box.has_value());
    std::string corners;
    for (const float corner : {box->x0, box->y0, box->x1, box->y1}) {
      corners += (corners.empty() ? "" : ",") + std::to_string(static_cast<int>(corner));
    }
    const Json record = run_json({"segment", fixture / (name + ".png"), "--model", fixture.model(),
                                  "--box", corners, "-o", fixture / "segmented"})
                            .at("images")
                            .as_array()
                            .front();
    const Image mask = read_mask(record.at("mask").as_string());
    const auto expected = promiseg::metrics::evaluate(as_mask(truth), as_mask(mask));
    for (const auto& column : promiseg::metrics::kMetricColumns) {
      const std::string metric(column.name);
      CAPTURE(metric);
      CHECK(number(table[metric].at(i)) == doctest::Approx(expected.*column.value));
    }
    const Json& object = record.at("objects").as_array().front();
    CHECK(number(table["score"].at(i)) == doctest::Approx(object.at("score").as_number()));
  }
}

TEST_CASE("evaluate: the same seed, the same points") {
  const EvaluateFixture fixture;
  const auto scores = [&](const char* seed) {
    return columns(fixture.evaluate({"--prompt", "points", "--seed", seed}))["score"];
  };
  const std::vector<std::string> first = scores("1");
  CHECK(scores("1") == first);
  CHECK(scores("2") != first);
  // A sample's points do not depend on what else is evaluated.
  fixture.write_table("wide.png,train,wide_mask.png\ntall.png,test,tall_mask.png\n");
  CHECK(scores("1") == std::vector<std::string>{first.at(1)});
}

TEST_CASE("evaluate: an empty mask is skipped where the prompt comes from it, and said so") {
  const EvaluateFixture fixture;
  for (const char* prompt : {"points", "box"}) {
    CAPTURE(prompt);
    const Json json = fixture.evaluate({"--prompt", prompt, "--split", "all"});
    check_two_images(json);
    REQUIRE(json.at("skipped").as_array().size() == 1);
    CHECK(json.at("skipped").as_array()[0].at("name").as_string() == "blank");
    CHECK(text_of(fixture / "out/report.html").find("Skipped: blank") != std::string::npos);
  }
  const std::string said = run_well(fixture.arguments({"--prompt", "box", "--split", "all"}));
  CHECK(said.find("skipped blank: the true mask is empty") != std::string::npos);

  const Json whole = fixture.evaluate({"--prompt", "image", "--split", "all"});
  CHECK(whole.at("images").as_integer() == 3);
  CHECK(whole.at("skipped").as_array().empty());
  CHECK(whole.at("undefined").at("weighted_f").as_integer() == 0);

  fs::remove_all(fixture.out());
  fixture.check_failure(fixture.arguments({"--prompt", "box", "--split", "train"}), "blank");
}

TEST_CASE("evaluate: the authors' metrics, some without a value") {
  const EvaluateFixture fixture;
  const Json json =
      fixture.evaluate({"--prompt", "image", "--split", "all", "--metrics", "promise"});
  CHECK(json.at("images").as_integer() == 3);
  CHECK(json.at("metrics").as_string() == "promise");
  CHECK(json.at("undefined").at("weighted_f").as_integer() == 1);
  CHECK(json.at("at_256").at("undefined").at("weighted_f").as_integer() == 1);
  auto table = columns(json);
  CHECK(table["name"].at(2) == "blank");
  CHECK(table["weighted_f"].at(2).empty());
  CHECK(
      json.at("weighted_f").as_number() ==
      doctest::Approx((number(table["weighted_f"].at(0)) + number(table["weighted_f"].at(1))) / 2));
}

TEST_CASE("evaluate: folders") {
  const EvaluateFixture fixture;
  fs::create_directory(fixture / "images");
  fs::create_directory(fixture / "masks");
  for (const char* name : {"wide", "tall"}) {
    const std::string stem(name);
    fs::copy_file(fixture / (stem + ".png"), fixture / ("images/" + stem + ".png"));
    fs::copy_file(fixture / (stem + "_mask.png"), fixture / ("masks/" + stem + "_mask.png"));
  }
  // Gzip, but no volume.
  write_bytes(fixture / "images/all.tar.gz", std::string_view("\x1f\x8b\x08 an archive"));
  const Arguments folders = {
      "evaluate",        "--model",  fixture.model(), "--images", fixture / "images", "--masks",
      fixture / "masks", "--prompt", "box",           "-o",       fixture.out()};
  const Json json = run_json(folders);
  CHECK(json.at("images").as_integer() == 2);
  CHECK(json.at("split").as_string() == "all");
  CHECK(columns(json)["name"] == Arguments{"tall", "wide"});
  CHECK(json.at("dice").as_number() ==
        doctest::Approx(fixture.evaluate({"--prompt", "box"}).at("dice").as_number()));
}

TEST_CASE("evaluate: the report stands alone, the summary is what JSON says") {
  const EvaluateFixture fixture;
  const Json json = fixture.evaluate({"--prompt", "box"});
  const std::string html = text_of(fixture / "out/report.html");
  CHECK(html.find("http://") == std::string::npos);
  CHECK(html.find("https://") == std::string::npos);
  CHECK(html.find("<figure id='picture-2'") != std::string::npos);
  CHECK(html.find("32 x 32") != std::string::npos);
  Json summary = Json::parse(text_of(fixture / "out/summary.json"));
  summary.set("files", json.at("files"));
  CHECK(summary == json);
}

TEST_CASE("evaluate: a table for people, and silence for those who want it") {
  const EvaluateFixture fixture;
  const std::string said = run_well(fixture.arguments({"--prompt", "box"}));
  for (const char* expected : {"mean", "median", "Dice", "Weighted F", "2 images"}) {
    CAPTURE(expected);
    CHECK(said.find(expected) != std::string::npos);
  }
  CHECK(said.ends_with("report: " + fixture.out() + "/report.html\n"));
  CHECK(run_well(fixture.arguments({"--prompt", "box", "--quiet"})).empty());

  // Stdout belongs to JSON, and people read stderr.
  const CommandResult both = run_promiseg(fixture.arguments({"--prompt", "box", "--json"}));
  CHECK(Json::parse(both.out).at("images").as_integer() == 2);
  CHECK(both.err.find("Weighted F") != std::string::npos);
  CHECK(both.err.ends_with("report: " + fixture.out() + "/report.html\n"));
  const CommandResult quiet =
      run_promiseg(fixture.arguments({"--prompt", "box", "--json", "--quiet"}));
  CHECK(Json::parse(quiet.out).at("images").as_integer() == 2);
  CHECK(quiet.err.empty());
}

TEST_CASE("evaluate: wrong usage") {
  const EvaluateFixture fixture;
  const std::string data = fixture / "data.csv";
  const std::string folder = fixture.path().string();
  const Arguments model = {"evaluate", "--model", fixture.model(), "--prompt",
                           "box",      "-o",      fixture.out()};
  const auto refused = [&](Arguments line, const Arguments& more, const std::string& expected) {
    line.insert(line.end(), more.begin(), more.end());
    fixture.check_failure(line, expected, 2);
  };
  refused(fixture.arguments({}), {}, "--prompt");
  refused(model, {}, "--data");
  refused(model, {"--images", folder}, "--masks");
  refused(model, {"--masks", folder}, "--images");
  refused(model, {"--data", data, "--images", folder, "--masks", folder}, "--data");
  refused(model, {"--data", data, "--split", "exam"}, "exam");
  refused(model, {"--data", data, "--metrics", "all"}, "--metrics");
  refused(model, {"--data", data, "--window", "9,1"}, "window");
  refused(model, {"--data", data, "--seed", "-1"}, "--seed");
  refused(fixture.arguments({"--prompt", "mask"}), {}, "--prompt");
  refused({"evaluate", "--model", fixture.model(), "--prompt", "box", "--data", data}, {},
          "--output");
}

TEST_CASE("evaluate: failures name what is wrong and write nothing") {
  const EvaluateFixture fixture;
  const Arguments box = fixture.arguments({"--prompt", "box"});
  fixture.check_failure(fixture.arguments({"--prompt", "box", "--split", "val"}),
                        "train (1), test (2)");
  fixture.check_failure(fixture.arguments({"--prompt", "box", "--pack", fixture.model()}),
                        "model.safetensors");

  fixture.write_table("wide.png,test,wide_mask.png\nabsent.png,test,wide_mask.png\n");
  fixture.check_failure(box, "absent.png");
  write_bytes(fixture / "text.png", std::string_view("no picture at all"));
  fixture.write_table("wide.png,test,wide_mask.png\ntext.png,test,wide_mask.png\n");
  fixture.check_failure(box, "promiseg: text: ");
  fixture.write_table("wide.png,test,wide_mask.png\ntall.png,test,wide_mask.png\n");
  fixture.check_failure(box, "promiseg: tall: ");
  fixture.check_failure(box, "wide_mask.png: the mask has 60 x 40 pixels");
  fixture.check_failure(box, "tall.png has 30 x 50");

  // A table that the results would replace.
  fixture.write_table("wide.png,test,wide_mask.png\n");
  fs::rename(fixture / "data.csv", fixture / "metrics.csv");
  fixture.check_failure({"evaluate", "--model", fixture.model(), "--data", fixture / "metrics.csv",
                         "--prompt", "box", "-o", fixture.path().string()},
                        "replace an input");
}
