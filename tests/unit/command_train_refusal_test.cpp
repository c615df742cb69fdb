// promiseg train: what it refuses, before it has written anything.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "train_fixture.hpp"

using namespace promiseg_test;

namespace {

std::string text_of(const fs::path& path) {
  const std::vector<char> bytes = read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

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
