//! Definition files: a file, or every `.yaml` and `.yml` of a folder.

use std::path::Path;

use anyhow::Context as _;

/// Reads the definitions at `path`, by name.
///
/// # Errors
/// The path is not there, or a file cannot be read as text.
pub fn read_definitions(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let metadata = std::fs::metadata(path)
        .with_context(|| format!("no definitions at {}: name a file or a folder with --sagas", path.display()))?;
    let mut files = Vec::new();
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            // Kubernetes shows a folder's files through hidden links beside themselves.
            let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if is_yaml && !hidden {
                files.push(file);
            }
        }
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    files
        .into_iter()
        .map(|file| {
            let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            Ok((file.display().to_string(), text))
        })
        .collect()
}
