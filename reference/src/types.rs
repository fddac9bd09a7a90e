//! The types of the settings as their source text has them: names, comments, and what serde was told.

use std::{collections::BTreeMap, path::PathBuf};

use syn::{Attribute, Expr, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Type};

/// A field of a section.
pub(super) struct Field {
    pub(super) name: String,
    /// What its comment says, in one line.
    pub(super) means: String,
    /// The name of its type, without `Option` and `Vec` around it.
    pub(super) of: String,
    pub(super) is_list: bool,
    /// Whether it has no default.
    pub(super) needed: bool,
}

/// What a type is in the config file.
pub(super) enum Kind {
    /// A section of its own.
    Section,
    /// One of several sets of keys, told apart by one of them.
    Choice,
    /// One of these words, with what each means.
    Words(Vec<(String, String)>),
    /// A value.
    Value,
}

/// All types in the files, by name.
pub(super) struct Types(BTreeMap<String, Item>);

impl Types {
    /// Reads them.
    pub(super) fn read(files: &[PathBuf]) -> Self {
        let mut types = BTreeMap::new();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            for item in syn::parse_file(&text).unwrap().items {
                match &item {
                    Item::Struct(one) => types.insert(one.ident.to_string(), item),
                    Item::Enum(one) => types.insert(one.ident.to_string(), item),
                    _ => None,
                };
            }
        }
        Self(types)
    }

    /// The fields of a section.
    pub(super) fn fields(&self, name: &str) -> Vec<Field> {
        let Some(Item::Struct(section)) = self.0.get(name) else { panic!("{name} is no section") };
        // A section with a default as a whole has one for each of its fields.
        let is_default = serde(&section.attrs).contains("default");
        fields(&section.fields)
            .into_iter()
            .map(|field| Field { needed: field.needed && !is_default, ..field })
            .collect()
    }

    /// The sets of keys that a choice has: its word, its meaning, its keys.
    pub(super) fn variants(&self, name: &str) -> Vec<(String, String, Vec<Field>)> {
        let Some(Item::Enum(choice)) = self.0.get(name) else { panic!("{name} is no choice") };
        let variants = choice.variants.iter();
        variants
            .map(|variant| (kebab(&variant.ident.to_string()), comment(&variant.attrs), fields(&variant.fields)))
            .collect()
    }

    /// What a type is. A type of another module, or one that is read from a text, is a value.
    pub(super) fn kind(&self, name: &str) -> Kind {
        match self.0.get(name) {
            Some(Item::Struct(section)) if matches!(section.fields, Fields::Named(_)) => Kind::Section,
            Some(Item::Enum(one)) if serde(&one.attrs).contains("tag") => Kind::Choice,
            Some(Item::Enum(one))
                if serde(&one.attrs).contains("rename_all")
                    && one.variants.iter().all(|variant| variant.fields.is_empty()) =>
            {
                let word = |variant: &syn::Variant| (kebab(&variant.ident.to_string()), comment(&variant.attrs));
                Kind::Words(one.variants.iter().map(word).collect())
            }
            _ => Kind::Value,
        }
    }
}

fn fields(fields: &Fields) -> Vec<Field> {
    let field = |field: &syn::Field| {
        let name = field.ident.as_ref().unwrap().to_string();
        let (of, is_list) = inner(&field.ty);
        let needed = !is_option(&field.ty) && !serde(&field.attrs).contains("default");
        Field { means: comment(&field.attrs), of, is_list, needed, name }
    };
    fields.iter().map(field).collect()
}

/// The name of the type inside of `Option` and `Vec`, and whether there is a `Vec`.
fn inner(of: &Type) -> (String, bool) {
    let Type::Path(path) = of else { panic!("a setting of a type without a name") };
    let last = path.path.segments.last().unwrap();
    let name = last.ident.to_string();
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) if name == "Option" || name == "Vec" => {
            let Some(GenericArgument::Type(of)) = arguments.args.first() else { panic!("{name} of nothing") };
            let (inside, is_list) = inner(of);
            (inside, is_list || name == "Vec")
        }
        _ => (name, false),
    }
}

/// Whether serde takes nothing for an answer.
fn is_option(of: &Type) -> bool {
    matches!(of, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

/// The text of all `serde` attributes.
fn serde(attributes: &[Attribute]) -> String {
    let lists = attributes.iter().filter(|one| one.path().is_ident("serde")).filter_map(|one| match &one.meta {
        Meta::List(list) => Some(list.tokens.to_string()),
        _ => None,
    });
    lists.collect::<Vec<_>>().join(", ")
}

/// A documentation comment in one line, without links into the code.
fn comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|one| one.path().is_ident("doc")).filter_map(|one| match &one.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`").replace("  ", " ")
}

/// `AsteriskCsv` as `asterisk-csv`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(character.to_lowercase());
    }
    text
}
