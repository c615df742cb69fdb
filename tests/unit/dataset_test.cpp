#include "promiseg/io/dataset.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "nifti_files.hpp"
#include "temporary_folder.hpp"

namespace fs = std::filesystem;
using promiseg::Dataset;
using promiseg::Error;
using promiseg::ErrorCode;
using promiseg::ImageReference;
using promiseg::load_dataset_csv;
using promiseg::load_dataset_folders;
using promiseg::Sample;
using promiseg::Slice;
using promiseg::SliceAxis;
using promiseg::Split;
using promiseg::split_training;
using promiseg_test::TemporaryFolder;
using promiseg_test::write_bytes;

namespace {

// Enough of a PNG file for everything that looks at names and first bytes only.
void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  write_bytes(path, std::string("\x89PNG\r\n\x1a\n"));
}

// A folder with a table; the pictures a.png to e.png and their masks lie in two folders below.
class TableFolder {
 public:
  TableFolder() {
    for (const char* name : {"a", "b", "c", "d", "e"}) {
      touch(folder_ / (std::string("images/") + name + ".png"));
      touch(folder_ / (std::string("masks/") + name + ".png"));
    }
  }

  fs::path operator/(std::string_view name) const { return folder_ / name; }

  Dataset load(std::string_view text) const {
    write_bytes(folder_ / "data.csv", text);
    return load_dataset_csv(folder_ / "data.csv");
  }

  /// The message for a table that must be refused.
  std::string refusal(std::string_view text, ErrorCode code) const {
    try {
      load(text);
    } catch (const Error& error) {
      CHECK(error.code() == code);
      CHECK(std::string_view(error.what()).starts_with((folder_ / "data.csv").string()));
      return error.what();
    }
    return "loaded without an error";
  }

 private:
  TemporaryFolder folder_;
};

void check_contains(const std::string& text, std::string_view part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
}

std::string refusal(const fs::path& images, const fs::path& masks, ErrorCode code) {
  try {
    load_dataset_folders(images, masks);
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  return "loaded without an error";
}

// So many samples for training, without files.
Dataset training_samples(std::size_t count) {
  Dataset dataset;
  dataset.samples.resize(count);
  return dataset;
}

std::vector<std::size_t> validation_of(const Dataset& dataset) {
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < dataset.samples.size(); ++i) {
    if (dataset.samples[i].split == Split::val) chosen.push_back(i);
  }
  return chosen;
}

}  // namespace

TEST_CASE("datasets: the table of the paper") {
  const TableFolder folder;
  const Dataset dataset = folder.load(
      "image_name,train_type,mask_name\n"
      "images/a.png,train,masks/a.png\n"
      "images/b.png,Val,masks/b.png\n"
      "images/c.png, TEST,masks/c.png\n"
      "images/d.png,validation,masks/d.png\n");
  REQUIRE(dataset.samples.size() == 4);
  CHECK(dataset.samples[0].image == ImageReference(folder / "images/a.png"));
  CHECK(dataset.samples[0].mask == ImageReference(folder / "masks/a.png"));
  CHECK(dataset.samples[0].name == "a");
  CHECK(dataset.samples[0].split == Split::train);
  CHECK(dataset.samples[1].split == Split::val);
  CHECK(dataset.samples[2].split == Split::test);
  CHECK(dataset.samples[3].split == Split::val);
  CHECK(dataset.count(Split::val) == 2);
}

TEST_CASE("datasets: columns in any order, others beside them, absolute paths") {
  const TableFolder folder;
  const std::string image = folder / "images/a.png";
  const Dataset dataset = folder.load(
      "\xEF\xBB\xBFscore,Mask_Name , image_name,train_type\r\n"
      "0.5,masks/a.png,\"" +
      image + "\",train\r\n");
  REQUIRE(dataset.samples.size() == 1);
  CHECK(dataset.samples[0].image == ImageReference(image));
  CHECK(dataset.samples[0].mask == ImageReference(folder / "masks/a.png"));
}

TEST_CASE("datasets: slices of volumes, and names that stay apart") {
  const TableFolder folder;
  touch(folder / "scan.nii");
  touch(folder / "labels.nii");
  touch(folder / "more/a.png");
  const Dataset dataset = folder.load(
      "image_name,train_type,mask_name\n"
      "scan.nii#axial=3,train,labels.nii#axial=3\n"
      "\"scan.nii#axial=4,volume=1\",train,labels.nii#axial=4\n"
      "images/a.png,train,masks/a.png\n"
      "more/a.png,train,masks/a.png\n");
  REQUIRE(dataset.samples.size() == 4);
  CHECK(dataset.samples[0].image ==
        ImageReference(folder / "scan.nii", Slice{SliceAxis::axial, 3}));
  CHECK(dataset.samples[0].mask ==
        ImageReference(folder / "labels.nii", Slice{SliceAxis::axial, 3}));
  CHECK(dataset.samples[0].name == "scan_axial3");
  CHECK(dataset.samples[1].name == "scan_axial4_volume1");
  CHECK(dataset.samples[2].name == "a");
  CHECK(dataset.samples[3].name == "a_2");
}

TEST_CASE("datasets: tables that cannot be are refused, with the line") {
  const TableFolder folder;
  const std::string header = "image_name,train_type,mask_name\n";
  const auto refused = [&](const std::string& lines, ErrorCode code = ErrorCode::bad_format) {
    return folder.refusal(header + lines, code);
  };
  check_contains(folder.refusal("", ErrorCode::bad_format), "empty");
  check_contains(refused(""), "no samples");
  check_contains(folder.refusal("image_name,mask_name\n", ErrorCode::bad_format),
                 "the column train_type is missing");
  check_contains(
      folder.refusal("image_name,mask_name,train_type,mask_name\n", ErrorCode::bad_format),
      "the column mask_name is there twice");
  check_contains(refused("images/a.png,train,masks/a.png\nimages/b.png,learn,masks/b.png\n"),
                 "line 3: the train_type is \"learn\", expected train, val or test");
  check_contains(refused("\n,train,masks/a.png\n"), "line 3: the image_name is empty");
  check_contains(refused("images/x.png,train,masks/a.png\n", ErrorCode::not_found),
                 "line 2: " + (folder / "images/x.png").string() + ": no such file");
  check_contains(refused("images/a.png,train,masks/x.png\n", ErrorCode::not_found), "masks/x.png");
  check_contains(refused("images,train,masks/a.png\n", ErrorCode::not_found), "no such file");
  check_contains(refused("images/a.png#axial=x,train,masks/a.png\n", ErrorCode::invalid_argument),
                 "line 2: ");
  check_contains(
      refused("images/a.png,train,masks/a.png\nimages/../images/a.png,test,masks/b.png\n"),
      "line 3: the image images/../images/a.png is listed twice, first in line 2");
  std::string without;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    without += std::string("images/") + name + ".png,train,\n";
  }
  const std::string message = refused(without);
  check_contains(message, "6 images have no mask: images/a.png (line 2), images/b.png (line 3)");
  check_contains(message, "images/e.png (line 6), ...");
}

TEST_CASE("datasets: two folders are paired by name") {
  const TemporaryFolder folder;
  for (const char* name : {"b.png", "a.jpg", "c.png", "d.nii", ".hidden"}) {
    touch(folder / (std::string("images/") + name));
  }
  write_bytes(folder / "images/notes.txt", std::string("not a picture"));
  fs::create_directory(folder / "images/below.png");
  for (const char* name :
       {"a.png", "b_mask.png", "c_seg.tif", "d_segmentation.nii", "z.png", ".hidden"}) {
    touch(folder / (std::string("masks/") + name));
  }
  write_bytes(folder / "masks/b.json", std::string("{}"));
  const Dataset dataset = load_dataset_folders(folder / "images", folder / "masks");
  REQUIRE(dataset.samples.size() == 5);
  CHECK(dataset.count(Split::train) == 5);
  const std::array<const char*, 5> masks{".hidden", "a.png", "b_mask.png", "c_seg.tif",
                                         "d_segmentation.nii"};
  const std::array<const char*, 5> names{".hidden", "a", "b", "c", "d"};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(dataset.samples[i].mask.path.filename().string() == masks[i]);
    CHECK(dataset.samples[i].name == names[i]);
  }
}

TEST_CASE("datasets: compressed volumes are pictures too") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "images");
  fs::create_directory(folder / "masks");
  promiseg_test::write_gzip(folder / "images/a.nii.gz", std::string("anything"));
  promiseg_test::write_gzip(folder / "masks/a_seg.nii.gz", std::string("anything"));
  const Dataset dataset = load_dataset_folders(folder / "images", folder / "masks");
  REQUIRE(dataset.samples.size() == 1);
  CHECK(dataset.samples[0].name == "a");
}

TEST_CASE("datasets: folders that cannot be paired are refused") {
  const TemporaryFolder folder;
  const fs::path images = folder / "images";
  const fs::path masks = folder / "masks";
  fs::create_directory(images);
  check_contains(refusal(images, masks, ErrorCode::not_found), "no such folder");
  fs::create_directory(masks);
  check_contains(refusal(images, masks, ErrorCode::bad_format), "no samples");
  touch(images / "a.png");
  check_contains(refusal(images, images, ErrorCode::invalid_argument), "two folders");
  check_contains(refusal(images / "a.png", masks, ErrorCode::invalid_argument), "a folder");
  for (const char* name : {"b.png", "c.png", "d.png", "e.png", "f.png"}) touch(images / name);
  const std::string message = refusal(images, masks, ErrorCode::bad_format);
  check_contains(message, "6 images have no mask");
  check_contains(message, "a.png, b.png, c.png, d.png, e.png, ...");
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    touch(masks / (std::string(name) + ".png"));
  }
  CHECK(load_dataset_folders(images, masks).samples.size() == 6);
  touch(masks / "a_mask.png");
  check_contains(refusal(images, masks, ErrorCode::bad_format), "a_mask.png");
  fs::remove(masks / "a_mask.png");
  touch(masks / "b.tif");
  check_contains(refusal(images, masks, ErrorCode::bad_format), "have one name");
}

TEST_CASE("datasets: validation samples are drawn from the training samples") {
  Dataset dataset = training_samples(20);
  dataset.samples[3].split = Split::test;
  split_training(dataset, 0.25, 7);
  const std::vector<std::size_t> chosen = validation_of(dataset);
  CHECK(chosen.size() == 5);
  CHECK(dataset.count(Split::train) == 14);
  CHECK(dataset.samples[3].split == Split::test);

  Dataset again = training_samples(20);
  again.samples[3].split = Split::test;
  split_training(again, 0.25, 7);
  CHECK(validation_of(again) == chosen);
  std::set<std::vector<std::size_t>> draws;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Dataset other = training_samples(20);
    split_training(other, 0.25, seed);
    draws.insert(validation_of(other));
  }
  CHECK(draws.size() > 5);

  split_training(dataset, 0.5, 8);  // there are validation samples already
  CHECK(validation_of(dataset) == chosen);
}

TEST_CASE("datasets: at least one validation sample, and one for training") {
  Dataset two = training_samples(2);
  split_training(two, 0.01, 1);
  CHECK(two.count(Split::val) == 1);
  Dataset many = training_samples(10);
  split_training(many, 0.99, 1);
  CHECK(many.count(Split::train) == 1);
  Dataset one = training_samples(1);
  CHECK_THROWS_AS(split_training(one, 0.5, 1), Error);
  for (const double fraction : {0.0, 1.0, -0.5, 2.0}) {
    CHECK_THROWS_AS(split_training(many, fraction, 1), Error);
  }
}
