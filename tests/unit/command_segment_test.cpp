// promiseg segment: what it writes for which prompts.
#include <doctest/doctest.h>
#include <png.h>

#include "command_fixture.hpp"

using namespace promiseg_test;
using promiseg::Image;
using promiseg::Index;
using promiseg::Json;
namespace fs = std::filesystem;

namespace {

using Arguments = std::vector<std::string>;

Index count_of(const Image& mask, int value) {
  return std::count(mask.elements().begin(), mask.elements().end(), value);
}

/// The number of pixels in which two masks differ.
Index differing(const Image& a, const Image& b) {
  REQUIRE(a.extents() == b.extents());
  Index count = 0;
  for (Index i = 0; i < a.size(); ++i) count += a.data()[i] != b.data()[i] ? 1 : 0;
  return count;
}

std::vector<char> mask_bytes(const Json& record) {
  return read_bytes(record.at("mask").as_string());
}

const Json& object(const Json& record, std::size_t index) {
  return record.at("objects").as_array().at(index);
}

std::vector<double> numbers(const Json& json) {
  std::vector<double> values;
  for (const Json& item : json.as_array()) values.push_back(item.as_number());
  return values;
}

/// A grey PNG of 16 bits.
void write_png16(const fs::path& path, const std::vector<std::uint16_t>& values, Index height,
                 Index width) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_LINEAR_Y;
  REQUIRE(png_image_write_to_file(&image, path.c_str(), 0, values.data(), 0, nullptr) != 0);
}

}  // namespace

TEST_CASE("segment: a box") {
  const CommandFixture fixture;
  const Json record = fixture.segment("out", {"--box", "10,5,40.5,35", "--label", "disc"});
  CHECK(record.at("mask").as_string() == (fixture / "out/picture_mask.png").string());
  CHECK(record.at("overlay").as_string() == (fixture / "out/picture_overlay.png").string());
  CHECK(files_below(fixture / "out").size() == 3);

  const Image mask = read_mask(record.at("mask").as_string());
  CHECK(mask.extents() == promiseg::Extents<3>{40, 60, 1});
  CHECK(values_of(mask) == std::set<int>{0, 255});
  const Image overlay = read_mask(record.at("overlay").as_string());
  CHECK(overlay.extent(2) == 3);

  const Json written = Json::parse([&] {
    const std::vector<char> bytes = read_bytes(fixture / "out/picture.json");
    return std::string(bytes.begin(), bytes.end());
  }());
  CHECK(object(written, 0).at("label").as_string() == "disc");
  CHECK(numbers(object(written, 0).at("box")) == std::vector<double>{10, 5, 40.5, 35});
  CHECK(object(written, 0).at("area_pixels").as_integer() == count_of(mask, 255));
  CHECK(object(written, 0).at("score").is_number());
  CHECK(written.at("times_ms").at("encode").as_number() > 0);
  const Json& geometry = written.at("geometry");
  CHECK(numbers(geometry.at("original_size")) == std::vector<double>{40, 60});
  CHECK(numbers(geometry.at("resized_size")) == std::vector<double>{43, 64});
  CHECK(geometry.at("frame_size").as_integer() == 64);
}

TEST_CASE("segment: masks have the image's size, whatever its shape") {
  for (const char* arch : {"vit_b", "litemedsam"}) {
    const CommandFixture fixture(arch);
    for (const auto& [height, width] :
         {std::pair<Index, Index>{60, 40}, {64, 64}, {7, 200}, {200, 7}, {1, 9}, {300, 280}}) {
      CAPTURE(height);
      CAPTURE(width);
      promiseg::write_png(fixture.image(), CommandFixture::picture(height, width));
      const std::string box = "0,0," + std::to_string(width) + "," + std::to_string(height);
      const Json record = fixture.segment("out", {"--box", box});
      CHECK(read_mask(record.at("mask").as_string()).extents() ==
            promiseg::Extents<3>{height, width, 1});
    }
  }
}

TEST_CASE("segment: points belong to the box before them, else to one object") {
  const CommandFixture fixture;
  const Json common = fixture.segment("points", {"--point", "20,20,1", "--point", "50,5,0"});
  REQUIRE(common.at("objects").as_array().size() == 1);
  CHECK(object(common, 0).find("box") == nullptr);
  CHECK(object(common, 0).at("points").as_array().size() == 2);
  CHECK(numbers(object(common, 0).at("points").as_array()[1]) == std::vector<double>{50, 5, 0});

  const Json mixed = fixture.segment(
      "mixed", {"--box", "5,5,30,30", "--label", "a", "--point", "20,20,1", "--point", "6,6,0",
                "--box", "30,5,55,35", "--point", "40,20,1", "--label", "b"});
  REQUIRE(mixed.at("objects").as_array().size() == 2);
  CHECK(object(mixed, 0).at("points").as_array().size() == 2);
  CHECK(object(mixed, 0).at("label").as_string() == "a");
  CHECK(object(mixed, 1).at("points").as_array().size() == 1);
  CHECK(object(mixed, 1).at("label").as_string() == "b");
}

TEST_CASE("segment: several objects become a label image, the later on top") {
  const CommandFixture fixture;
  const Arguments first = {"--box", "5,5,30,30"};
  const Arguments second = {"--box", "20,10,55,38"};
  const Arguments third = {"--point", "30,20,1"};
  const auto mask_of = [&](const std::string& name, const Arguments& arguments) {
    return read_mask(fixture.segment(name, arguments).at("mask").as_string());
  };
  const Image a = mask_of("a", first);
  const Image b = mask_of("b", second);
  Image expected(a.extents());
  for (Index i = 0; i < expected.size(); ++i) {
    expected.data()[i] = static_cast<std::uint8_t>(b.data()[i] != 0 ? 2 : a.data()[i] != 0 ? 1 : 0);
  }
  const Image both = mask_of("both", {"--box", "5,5,30,30", "--box", "20,10,55,38"});
  CHECK(differing(both, expected) == 0);
  CHECK(count_of(both, 2) > 0);

  // A point after a box belongs to it, so a label tells the objects apart in a prompts file only.
  const std::string prompts =
      R"({"objects": [{"box": [5, 5, 30, 30]}, {"points": [[30, 20, 1]]}, {"box": [2, 2, 9, 9]}]})";
  write_bytes(fixture / "prompts.json", prompts);
  const Json three = fixture.segment("three", {"--prompts", fixture / "prompts.json"});
  REQUIRE(three.at("objects").as_array().size() == 3);
  for (int value : values_of(read_mask(three.at("mask").as_string()))) CHECK(value <= 3);
}

TEST_CASE("segment: its own record is a prompts file") {
  const CommandFixture fixture;
  const Json record =
      fixture.segment("out", {"--box", "10.25,5,40.5,35", "--label", "disc \"1\"", "--point",
                              "20,20,1", "--box", "30,5,55,35", "--point", "31.5,6,0"});
  const Json again = fixture.segment("again", {"--prompts", record.at("json").as_string()});
  CHECK(mask_bytes(again) == mask_bytes(record));
  CHECK(object(again, 0).at("label").as_string() == "disc \"1\"");
  CHECK(object(again, 0).at("points") == object(record, 0).at("points"));
}

TEST_CASE("segment: a mask as the prompt") {
  const CommandFixture fixture;
  Image inside({40, 60, 1});
  for (Index y = 10; y < 30; ++y) {
    for (Index x = 12; x < 36; ++x) inside.view()(y, x, 0) = 255;
  }
  promiseg::write_png(fixture / "coarse.png", inside);
  const std::string coarse = fixture / "coarse.png";
  const Json alone = fixture.segment("alone", {"--mask-prompt", coarse});
  CHECK(read_mask(alone.at("mask").as_string()).extents() == inside.extents());
  const Json box = fixture.segment("box", {"--box", "10,8,38,32"});
  const Json both = fixture.segment("both", {"--box", "10,8,38,32", "--mask-prompt", coarse});
  CHECK(object(both, 0).at("score").as_number() != object(box, 0).at("score").as_number());

  // The same logits from a file of numbers: 32 x 32, all sure that nothing is there.
  std::string numpy = "\x93NUMPY\x01";
  numpy += '\0';
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (32, 32), }";
  header.resize(117, ' ');
  header += '\n';
  numpy += static_cast<char>(header.size());
  numpy += '\0';
  numpy += header;
  const std::vector<float> logits(32 * 32, -10.0F);
  numpy.append(reinterpret_cast<const char*>(logits.data()), logits.size() * sizeof(float));
  write_bytes(fixture / "logits.npy", numpy);
  promiseg::write_png(fixture / "black.png", Image({40, 60, 1}));
  const Json from_array = fixture.segment("npy", {"--mask-prompt", fixture / "logits.npy"});
  const Json from_image = fixture.segment("black", {"--mask-prompt", fixture / "black.png"});
  CHECK(object(from_array, 0).at("score") == object(from_image, 0).at("score"));
  CHECK(mask_bytes(from_array) == mask_bytes(from_image));
}

TEST_CASE("segment: the best of several masks") {
  const CommandFixture fixture;
  const Json record = fixture.segment("out", {"--point", "20,20,1", "--multimask"});
  const std::vector<double> scores = numbers(object(record, 0).at("candidate_scores"));
  REQUIRE(scores.size() == 3);
  const auto best = std::max_element(scores.begin(), scores.end());
  CHECK(object(record, 0).at("chosen_candidate").as_integer() == best - scores.begin());
  CHECK(object(record, 0).at("score").as_number() == *best);
  const Json single = fixture.segment("single", {"--point", "20,20,1"});
  CHECK(object(single, 0).find("candidate_scores") == nullptr);
}

TEST_CASE("segment: a saved embedding gives the same masks") {
  const CommandFixture fixture;
  const Arguments box = {"--box", "10,5,40,35"};
  const Json saving = fixture.segment("first", {"--box", "10,5,40,35", "--save-embedding"});
  const std::string embedding = saving.at("embedding").as_string();
  CHECK(embedding == (fixture / "first/picture_embedding.safetensors").string());
  const Json loaded = fixture.segment("second", {"--box", "10,5,40,35", "--embedding", embedding});
  CHECK(mask_bytes(loaded) == mask_bytes(saving));
  CHECK(object(loaded, 0).at("score") == object(saving, 0).at("score"));

  const std::string other = fixture / "other.safetensors";
  run_well({"synth", "vit_b", "--seed", "6", "-o", other, "--config", kSmallVit});
  const CommandResult refused =
      run_promiseg({"segment", fixture.image(), "--model", other, "--embedding", embedding, "--box",
                    "10,5,40,35", "-o", fixture / "third"});
  check_complaint(refused, 1);
  CHECK(refused.err.find("embedding") != std::string::npos);
  promiseg::write_png(fixture.image(), CommandFixture::picture(41, 60));
  check_complaint(
      run_promiseg({"segment", fixture.image(), "--model", fixture.model(), "--embedding",
                    embedding, "--box", "10,5,40,35", "-o", fixture / "third"}),
      1);
  CHECK((!fs::exists(fixture / "third") || files_below(fixture / "third").empty()));
}

TEST_CASE("segment: a folder of images") {
  const CommandFixture fixture;
  fs::create_directory(fixture / "images");
  promiseg::write_png(fixture / "images/b.png", CommandFixture::picture(30, 30));
  promiseg::write_png(fixture / "images/a.dat", CommandFixture::picture(50, 40));
  write_bytes(fixture / "images/notes.txt", std::string_view("not an image"));
  const Json json = run_json({"segment", fixture / "images", fixture.image(), "--model",
                              fixture.model(), "--box", "3,3,25,25", "-o", fixture / "out"});
  const Json::Array& images = json.at("images").as_array();
  REQUIRE(images.size() == 3);
  CHECK(images[0].at("image").as_string() == (fixture / "images/a.dat").string());
  CHECK(images[1].at("image").as_string() == (fixture / "images/b.png").string());
  CHECK(read_mask(fixture / "out/a_mask.png").extents() == promiseg::Extents<3>{50, 40, 1});
  CHECK(read_mask(fixture / "out/b_mask.png").extents() == promiseg::Extents<3>{30, 30, 1});
  CHECK(read_mask(fixture / "out/picture_mask.png").extents() == promiseg::Extents<3>{40, 60, 1});

  fs::copy_file(fixture / "images/b.png", fixture / "b.png");
  check_complaint(run_promiseg({"segment", fixture / "images", fixture / "b.png", "--model",
                                fixture.model(), "--box", "3,3,25,25", "-o", fixture / "same"}),
                  1);
}

TEST_CASE("segment: which of several images failed, and what is done by then") {
  const CommandFixture fixture;
  promiseg::write_png(fixture / "small.png", CommandFixture::picture(20, 20));
  const CommandResult result =
      run_promiseg({"segment", fixture.image(), fixture / "small.png", "--model", fixture.model(),
                    "--box", "3,3,25,25", "-o", fixture / "out", "--quiet"});
  check_complaint(result, 1);
  CHECK(result.err.find("image 2 of 2") != std::string::npos);
  CHECK(result.err.find("small.png") != std::string::npos);
  CHECK(fs::exists(fixture / "out/picture_mask.png"));
  CHECK_FALSE(fs::exists(fixture / "out/small_mask.png"));
}

TEST_CASE("segment: an empty mask is not passed over in silence") {
  const CommandFixture fixture;
  const std::string said =
      run_well({"segment", fixture.image(), "--model", fixture.model(), "--box", "10,5,40,35",
                "--label", "disc", "--min-area", "100000", "-o", fixture / "out"});
  CHECK(said.find("\"disc\" has an empty mask") != std::string::npos);
}

TEST_CASE("segment: a window turns 16 bits into 8") {
  const CommandFixture fixture;
  const Image eight = CommandFixture::picture(40, 60);
  std::vector<std::uint16_t> values;
  for (std::uint8_t value : eight.elements()) {
    values.push_back(static_cast<std::uint16_t>(1000 + 10 * value));
  }
  const Json expected = fixture.segment("eight", {"--box", "10,5,40,35"});
  write_png16(fixture.image(), values, 40, 60);
  const Arguments box = {"--box", "10,5,40,35", "--window", "1000,3550"};
  CHECK(mask_bytes(fixture.segment("sixteen", box)) == mask_bytes(expected));
  // Another window, another picture.
  const Json dark = fixture.segment("dark", {"--box", "10,5,40,35", "--window", "1000,65535"});
  CHECK(object(dark, 0).at("score") != object(expected, 0).at("score"));
  fixture.segment("auto", {"--box", "10,5,40,35", "--window", "auto"});
}

TEST_CASE("segment: threads do not change the masks, and the reference backend agrees") {
  const CommandFixture fixture("litemedsam");
  const Json many = fixture.segment("many", {"--box", "10,5,40,35"});
  const Json one = fixture.segment("one", {"--box", "10,5,40,35", "--threads", "1"});
  CHECK(mask_bytes(one) == mask_bytes(many));
  CHECK(object(one, 0).at("score") == object(many, 0).at("score"));
  const Json slow = fixture.segment("slow", {"--box", "10,5,40,35", "--backend", "reference"});
  CHECK(object(slow, 0).at("score").as_number() ==
        doctest::Approx(object(many, 0).at("score").as_number()).epsilon(1e-4));
  const Image expected = read_mask(slow.at("mask").as_string());
  CHECK(differing(read_mask(many.at("mask").as_string()), expected) <= expected.size() / 500);
}

TEST_CASE("segment: bfloat16 is close to float32") {
  const CommandFixture fixture("litemedsam");
  const Json full = fixture.segment("full", {"--box", "10,5,40,35"});
  const Arguments half = {"--box", "10,5,40,35", "--precision", "bf16"};
  const Json fast = fixture.segment("fast", half);
  CHECK(object(fast, 0).at("score") != object(full, 0).at("score"));
  CHECK(object(fast, 0).at("score").as_number() ==
        doctest::Approx(object(full, 0).at("score").as_number()).epsilon(0.05));
  Arguments slow = half;
  slow.insert(slow.end(), {"--backend", "reference"});
  CHECK(object(fixture.segment("slow", slow), 0).at("score").as_number() ==
        doctest::Approx(object(fast, 0).at("score").as_number()).epsilon(0.02));
}

TEST_CASE("segment: the model that is found when none is named") {
  const CommandFixture fixture;
  const Arguments segment = {"segment", fixture.image(), "--box", "10,5,40,35",
                             "-o",      fixture / "out"};
  run_well(segment, {{"PROMISEG_MODEL", fixture.model()}});
  fs::create_directories(fixture / "data/promiseg");
  fs::copy_file(fixture.model(), fixture / "data/promiseg/litemedsam.safetensors");
  run_well(segment, {{"XDG_DATA_HOME", fixture / "data"}});
  fs::create_directories(fixture / "home/.local/share/promiseg");
  fs::copy_file(fixture.model(), fixture / "home/.local/share/promiseg/litemedsam.safetensors");
  run_well(segment, {{"XDG_DATA_HOME", ""}, {"HOME", fixture / "home"}});
}
