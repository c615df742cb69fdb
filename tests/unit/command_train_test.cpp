// promiseg train: what a run makes, and that it can be repeated.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/adapt/pack_file.hpp"
#include "train_fixture.hpp"

using namespace promiseg_test;
using promiseg::PackFile;

namespace {

double number(const std::string& text) { return std::stod(text); }

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
